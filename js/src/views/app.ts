// Owns the whole of what is on screen: puts views, toolbar and details together and keeps them in step.
// Knows its host only as callbacks.
import { pathOf } from '../profile/tree';
import { FlameChart } from './chart';
import { copyText } from './clipboard';
import { describe, module, spoken, title } from './describe';
import { Details } from './details';
import { button, h } from './dom';
import { notesOf } from './notes';
import { ROW } from './plot';
import { State, VIEWS, type Choices, type ViewName } from './state';
import { Theme, type ThemeChoice } from './theme';
import { Toolbar } from './toolbar';
import { Tooltip } from './tooltip';

/** What Python sees of the selection. */
export interface Selected {
  function: string;
  file: string;
  line: number;
  /** `function (file:line)`, outermost first. */
  stack: string[];
  /** Of the time shown, 0 to 1. */
  share: number;
}

export interface Host {
  selected(selected: Selected | Record<string, never>): void;
  searched(text: string): void;
  viewed(view: ViewName): void;
}

/** What every view can do for the app. */
export interface View {
  readonly element: HTMLElement;
  /** Brings the view up to date with the state. */
  show(reason: { data: boolean; before: Choices }): void;
  focus(): void;
  dispose(): void;
}

export class App {
  readonly root: HTMLElement;
  readonly state: State;
  readonly theme: Theme;
  readonly chart: FlameChart;
  readonly tooltip = new Tooltip();
  private readonly toolbar: Toolbar;
  private readonly details: Details;
  private readonly notes = h('div', { class: 'sp-notes', role: 'note' });
  private readonly crumbs = h('nav', { class: 'sp-crumbs', 'aria-label': 'Zoomed into' });
  private readonly stage = h('div', { class: 'sp-stage' });
  private readonly live = h('div', { class: 'sp-live', role: 'status', 'aria-live': 'polite' });
  private arrived = 0;
  private sized = false;

  constructor(
    container: HTMLElement,
    private readonly host: Host,
  ) {
    // The attribute keeps JupyterLab from reading our keys as notebook commands.
    this.root = h('section', { class: 'spprof', 'aria-label': 'Profile', 'data-lm-suppress-shortcuts': 'true' });
    container.append(this.root);
    this.state = new State((before, dataChanged) => this.changed(before, dataChanged));
    this.chart = new FlameChart('Call tree', {
      select: (node) => this.selectNode(node),
      zoom: (node) => this.state.update({ zoom: pathOf(this.state.aggregate.tree, node) }),
      hover: (node, event) => {
        if (node < 0 || !event) this.tooltip.hide();
        else this.tooltip.show(describe(this.state, this.state.aggregate.tree, node), event, this.root);
      },
      actions: () => this.details.focusActions(),
    });
    this.toolbar = new Toolbar(this.state, {
      reset: () => this.reset(),
    });
    this.details = new Details(this.state, {
      say: (text) => this.say(text),
      copy: (text) => void copyText(text).then((done) => this.say(done ? 'Stack copied' : 'Copying was refused')),
    });
    this.stage.append(this.chart.element);
    this.root.append(this.toolbar.element, this.notes, this.crumbs, this.stage, this.details.element, this.tooltip.element, this.live);
    this.theme = new Theme(this.root, () => this.repaint());
    this.root.addEventListener('keydown', (event) => this.onKey(event));
  }

  /** Shows a container; damaged ones are said to be so in place of a view. */
  setData(bytes: ArrayBuffer | ArrayBufferView): void {
    this.arrived = performance.now();
    try {
      this.state.setData(bytes);
      this.root.classList.remove('sp-failed');
    } catch (error) {
      this.root.classList.add('sp-failed');
      this.notes.replaceChildren(h('p', { class: 'sp-error', role: 'alert' }, `This profile cannot be shown: ${(error as Error).message}`));
      return;
    }
    performance.measure('spprof.first-paint', { start: this.arrived, end: performance.now() });
  }

  setView(view: string): void {
    const known = VIEWS.find((name) => name === view);
    if (known && known !== this.state.choices.view) this.state.update({ view: known });
  }

  setSearch(text: string): void {
    if (text !== this.state.choices.search) this.state.update({ search: text });
  }

  setTheme(choice: string): void {
    this.theme.set(choice === 'light' || choice === 'dark' ? choice : ('auto' satisfies ThemeChoice));
  }

  dispose(): void {
    this.chart.dispose();
    this.theme.dispose();
    this.root.remove();
  }

  private selectNode(node: number): void {
    const stack = this.state.stackOf(node);
    const key = this.state.aggregate.tree.key[node];
    this.state.update({ selection: key >= 0 ? { func: key, stack } : null });
  }

  private reset(): void {
    this.chart.zoomTo(0);
    this.state.update({ search: '', selection: null });
  }

  private say(text: string): void {
    this.live.textContent = text;
  }

  private changed(before: Choices, dataChanged: boolean): void {
    const { choices } = this.state;
    if (!this.state.profile) return;
    const treeChanged = dataChanged || choices.tree !== before.tree || choices.inverted !== before.inverted;
    const flips = choices.view !== before.view;
    if (treeChanged || flips) this.showChart(dataChanged);
    else if (choices.search !== before.search || choices.selection !== before.selection || choices.colors !== before.colors) this.updateChart();
    if (dataChanged) this.showNotes();
    this.showCrumbs();
    this.toolbar.show(dataChanged);
    this.details.show();
    if (choices.search !== before.search) this.host.searched(choices.search);
    if (choices.view !== before.view) this.host.viewed(choices.view);
    if (choices.selection !== before.selection) this.host.selected(this.selected());
  }

  private showChart(dataChanged: boolean): void {
    const { state } = this;
    const { tree, layout } = state.aggregate;
    const zoom = state.zoomedNode();
    this.fitStage(tree.maxDepth + 1);
    this.chart.show(
      {
        layout,
        painter: state.painter(tree, this.theme.dark),
        dark: this.theme.dark,
        matches: state.matches,
        selectedFunc: state.choices.selection?.func ?? -1,
        title: (node) => title(state, tree, node),
        module: (node) => module(state, tree, node),
        native: (node) => tree.key[node] >= 0 && state.names.native(tree.key[node]),
        spoken: (node) => spoken(state, tree, node),
      },
      { zoom, selected: state.selectedNode(), keepWindow: dataChanged, bottomUp: state.choices.view === 'flame' },
    );
  }

  private updateChart(): void {
    const { state } = this;
    const { tree } = state.aggregate;
    this.chart.update(
      {
        matches: state.matches,
        painter: state.painter(tree, this.theme.dark),
        dark: this.theme.dark,
        selectedFunc: state.choices.selection?.func ?? -1,
      },
      state.selectedNode(),
    );
  }

  private repaint(): void {
    if (this.state.profile) this.updateChart();
  }

  /** As high as the frames need, within what a cell's output should take; a page gives all it has. */
  private fitStage(rows: number): void {
    if (this.sized) return;
    this.stage.style.setProperty('--sp-content', `${Math.max(8, rows) * ROW + 6}px`);
  }

  private showNotes(): void {
    const notes = notesOf(this.state.data);
    this.notes.replaceChildren(...notes.map(({ text, warning }) => h('span', { class: warning ? 'sp-note sp-warning' : 'sp-note' }, text)));
  }

  private showCrumbs(): void {
    const { state } = this;
    const { tree } = state.aggregate;
    const zoomed = state.zoomedNode();
    const chain: number[] = [];
    for (let node = zoomed; node > 0; node = tree.parent[node]) chain.push(node);
    chain.reverse();
    this.crumbs.replaceChildren();
    const filters = this.toolbar.filters();
    this.crumbs.hidden = chain.length === 0 && filters.length === 0;
    if (chain.length > 0) {
      const crumb = (node: number, text: string): HTMLElement => {
        const last = node === zoomed;
        return button(text, { class: 'sp-crumb', 'aria-current': last ? 'true' : null, title: last ? null : `Zoom back to ${text}` }, () => {
          this.chart.zoomTo(node);
          this.chart.focus();
        });
      };
      this.crumbs.append(crumb(0, 'All'));
      // A deep chain keeps its ends: where it comes from and where it is.
      const shown = chain.length > 7 ? [...chain.slice(0, 2), -1, ...chain.slice(-4)] : chain;
      for (const node of shown) {
        this.crumbs.append(h('span', { class: 'sp-separator', 'aria-hidden': 'true' }, '›'));
        this.crumbs.append(node < 0 ? h('span', {}, '…') : crumb(node, title(state, tree, node)));
      }
    }
    this.crumbs.append(...filters);
  }

  selected(): Selected | Record<string, never> {
    const { selection } = this.state.choices;
    if (!selection) return {};
    const { names, data, aggregate, table } = this.state;
    const node = this.state.selectedNode();
    const whole = aggregate.tree.total[0];
    const total = node >= 0 ? aggregate.tree.total[node] : (table.find(({ func }) => func === selection.func)?.total ?? 0);
    return {
      function: names.name(selection.func),
      file: names.place(selection.func).path,
      line: data.funcLine[selection.func],
      stack: selection.stack.map((func) => `${names.name(func)} (${names.location(func)})`),
      share: whole > 0 ? total / whole : 0,
    };
  }

  private onKey(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    const typing = target.matches('input, select, textarea');
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'Escape') {
      if (this.toolbar.closePanels()) {
        event.preventDefault();
      } else if (typing) {
        if (this.state.choices.search) this.state.update({ search: '' });
        this.chart.focus();
      } else if (this.state.choices.zoom.length > 0) {
        const { tree } = this.state.aggregate;
        this.chart.zoomTo(Math.max(0, tree.parent[this.state.zoomedNode()]));
      } else if (this.state.choices.selection) {
        this.state.update({ selection: null });
      }
      return;
    }
    if (typing) return;
    if (event.key === '/') {
      event.preventDefault();
      this.toolbar.focusSearch();
    } else if (event.key === 'Backspace') {
      const { tree } = this.state.aggregate;
      this.chart.zoomTo(Math.max(0, tree.parent[this.state.zoomedNode()]));
    } else if (event.key === 'i') {
      this.state.update({ inverted: !this.state.choices.inverted, zoom: [] });
    } else if (event.key === 'r') {
      this.state.updateTree({ collapseRecursion: !this.state.choices.tree.collapseRecursion });
    } else if (this.details.onKey(event.key)) {
      event.preventDefault();
    } else if (/^[1-6]$/.test(event.key)) {
      this.setView(VIEWS[Number(event.key) - 1]);
    }
  }
}

