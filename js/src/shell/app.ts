// Owns the whole of what is on screen: puts views, toolbar and details together and keeps them in step.
// Knows its host only as callbacks.
import { copyText } from '../dom/clipboard';
import { button, h } from '../dom/elements';
import { notesOf } from '../profile/notes';
import type { FuncRow } from '../profile/rows';
import { searchOf, textOf } from '../profile/search';
import { functionOf } from '../profile/tree';
import { type Selection, VIEWS, type ViewName } from '../state/choices';
import type { Described } from '../state/describe';
import { type ContainerBytes, keep, onChange, State } from '../state/state';
import { VIEW_KINDS } from '../views/registry';
import { speedscopeUrl } from '../views/speedscope-page';
import type { Context, View } from '../views/view';
import { Details } from './details';
import { type ExportKind, fileName, save, saveContainer } from './export';
import { Legend } from './legend';
import { Messages, reason } from './messages';
import { Theme, type ThemeChoice } from './theme';
import { Toolbar } from './toolbar';
import { Tooltip } from './tooltip';
import { WaitsLegend } from './waits-legend';

/** What Python sees of the selection; nothing selected is an empty object. */
export interface Selected {
  function?: string;
  file?: string;
  /** First line of the function. */
  line?: number;
  /** `function (file:line)`, outermost first. */
  stack?: string[];
  /** Of the time shown, 0 to 1. */
  share?: number;
}

export interface Host {
  selected(selected: Selected): void;
  searched(text: string): void;
  viewed(view: ViewName): void;
  /** Text of a source file, null where there is none. */
  source(path: string): Promise<string | null>;
  /** Speedscope's page, null where there is none; rejects with the reason where it cannot be had now. */
  speedscope(): Promise<string | null>;
  /** The container of which the shown one is a coarser copy, null where there is none; rejects as above. */
  whole(): Promise<ContainerBytes | null>;
  /** What the profile is called, as of the variable that holds it; empty where nobody named it. */
  name(): string;
}

export class App {
  readonly root: HTMLElement;
  readonly state: State;
  private readonly theme: Theme;
  private readonly tooltip = new Tooltip();
  private readonly toolbar: Toolbar;
  private readonly details: Details;
  private readonly waits: WaitsLegend;
  private readonly legend: Legend;
  private readonly notes = h('div', { class: 'sp-notes', role: 'note' });
  private readonly crumbs = h('nav', { class: 'sp-crumbs', 'aria-label': 'Zoomed into' });
  private readonly stage = h('div', { class: 'sp-stage' });
  private readonly messages = new Messages();
  private readonly context: Context;
  private readonly views = new Map<(context: Context) => View, View>();
  /** Ends what keeps the screen and the host in step with the state. */
  private readonly stops: (() => void)[];

  constructor(
    container: HTMLElement,
    private readonly host: Host,
    /** Whose keys are ours: in a notebook only our own, on a page of our own all. */
    keys?: EventTarget,
  ) {
    // The attribute keeps JupyterLab from reading our keys as notebook commands.
    this.root = h('section', { class: 'spprof', 'aria-label': 'Profile', 'data-lm-suppress-shortcuts': 'true' });
    container.append(this.root);
    this.state = new State();
    this.toolbar = new Toolbar(this.state, {
      reset: () => this.reset(),
      save: (kind) => this.save(kind),
      step: (by) => this.step(by),
      speedscope: () => this.openSpeedscope(),
    });
    this.details = new Details(this.state, {
      copy: (text) =>
        void copyText(text).then((done) => this.messages.say(done ? 'Stack copied' : 'Copying was refused')),
    });
    this.waits = new WaitsLegend(this.state);
    this.legend = new Legend(this.state);
    const facts = h('div', { class: 'sp-facts' }, this.notes, this.toolbar.matched, this.toolbar.steps);
    this.root.append(
      this.toolbar.element,
      this.messages.element,
      facts,
      this.waits.element,
      this.crumbs,
      this.stage,
      this.legend.element,
      this.details.element,
      this.tooltip.element,
      this.messages.live,
    );
    this.theme = new Theme(this.root, (dark) => this.state.setLook({ dark }));
    this.context = {
      state: this.state,
      select: (selection) => this.select(selection),
      tip: (described, event) => this.tip(described, event),
      actions: () => this.details.focusActions(),
      moved: () => this.showCrumbs(),
      resized: () => this.fitStage(),
      source: (path) => host.source(path),
      speedscope: () => host.speedscope(),
      saveSpeedscope: () => this.save('speedscope'),
      say: (text) => this.messages.say(text),
    };
    const { state } = this;
    this.stops = [
      keep(() => this.show()),
      keep(() => this.showNotes()),
      onChange(
        () => textOf(state.choices),
        (text) => host.searched(text),
      ),
      onChange(
        () => state.choices.view,
        (view) => host.viewed(view),
      ),
      onChange(
        () => state.choices.selection,
        () => host.selected(this.selected()),
      ),
    ];
    (keys ?? this.root).addEventListener('keydown', (event) => this.onKey(event as KeyboardEvent));
    this.root.addEventListener('click', (event) => this.keepFocus(event.target as HTMLElement));
  }

  /** Shows a container; of a damaged one it says so in place of a view. */
  setData(bytes: ArrayBuffer | ArrayBufferView<ArrayBuffer>): void {
    const arrived = performance.now();
    try {
      this.state.setData(bytes);
    } catch (error) {
      this.root.classList.add('sp-failed');
      this.notes.replaceChildren(
        h('p', { class: 'sp-error', role: 'alert' }, `This profile cannot be shown: ${(error as Error).message}`),
      );
      return;
    }
    this.root.classList.remove('sp-failed');
    // Read by tests/bench/frontend.py, and by anyone with the browser's own profiler.
    performance.measure('spprof.show', { start: arrived, end: performance.now() });
  }

  setView(view: string): void {
    const known = VIEWS.find((name) => name === view);
    if (known && known !== this.state.choices.view) this.state.update({ view: known });
  }

  setAllFrames(wanted: boolean): void {
    if (wanted !== this.state.choices.allFrames) this.state.update({ allFrames: wanted, zoom: [] });
  }

  setSearch(text: string): void {
    if (text !== textOf(this.state.choices)) this.state.update(searchOf(text));
  }

  setTheme(choice: string): void {
    this.theme.set(choice === 'light' || choice === 'dark' ? choice : ('auto' satisfies ThemeChoice));
  }

  /** Selects what Python asks for: a function by name, of a file where that is said, by its stack if that is there. */
  setSelected(wanted: Selected): void {
    const { state } = this;
    if (!state.profile || JSON.stringify(wanted) === JSON.stringify(this.selected())) return;
    if (!wanted.function) {
      if (state.choices.selection) state.update({ selection: null });
      return;
    }
    const { names } = state;
    const labels = new Map<string, FuncRow>();
    let func: FuncRow | null = null;
    for (let row = 0 as FuncRow; row < state.functions; row++) {
      labels.set(this.label(row), row);
      const { path, file } = names.place(row);
      const same = names.name(row) === wanted.function || names.title(row) === wanted.function;
      if (func === null && same && (!wanted.file || wanted.file === path || wanted.file === file)) func = row;
    }
    if (func === null) return;
    const asked = wanted.stack ?? [];
    const stack = asked.map((label) => labels.get(label)).filter((row) => row !== undefined);
    const whole = stack.length > 0 && stack.length === asked.length && stack[stack.length - 1] === func;
    state.update({ selection: { func, stack: whole ? stack : [] } });
  }

  dispose(): void {
    for (const stop of this.stops) stop();
    this.toolbar.dispose();
    this.details.dispose();
    this.waits.dispose();
    this.legend.dispose();
    for (const view of this.views.values()) view.dispose();
    this.theme.dispose();
    this.root.remove();
  }

  private get view(): View {
    const { make } = VIEW_KINDS[this.state.choices.view];
    let made = this.views.get(make);
    if (!made) {
      made = make(this.context);
      this.views.set(make, made);
      this.stage.append(made.element);
    }
    return made;
  }

  private show(): void {
    const { state } = this;
    if (!state.profile) return;
    const { view } = this;
    for (const other of this.views.values()) other.element.hidden = other !== view;
    this.tip(null, null);
    this.root.dataset.view = state.choices.view;
    // A cell's output grows with what there is to see; a page of its own gives all it has.
    this.stage.style.setProperty('--sp-content', '460px');
    view.show();
    this.fitStage();
    this.showCrumbs();
  }

  private fitStage(): void {
    this.stage.style.setProperty('--sp-content', `${this.view.height}px`);
  }

  private select(selection: Selection | null): void {
    const { selection: before } = this.state.choices;
    if (selection?.func === before?.func && selection?.stack.join() === before?.stack.join()) return;
    this.state.update({ selection });
  }

  private tip(described: Described | null, event: PointerEvent | null): void {
    if (described && event) this.tooltip.show(described, event, this.root);
    else this.tooltip.hide();
  }

  private reset(): void {
    const { tree, inverted } = this.state.choices;
    const { threads, split } = tree;
    this.view.reset();
    this.state.update({
      search: '',
      selection: null,
      zoom: [],
      inverted,
      tree: {
        ...tree,
        threads,
        split,
        hideFunctions: new Set(),
        hideGroups: new Set(),
        focusFunction: null,
        focusGroup: null,
        range: null,
        doing: null,
        region: null,
      },
    });
  }

  private save(kind: ExportKind): void {
    const { messages } = this;
    if (kind === 'spprof' && this.state.data.thinnedFrom !== null) void this.saveWhole();
    else save(kind, this.state, this.fileName).catch((error: unknown) => messages.warn(`Not saved: ${reason(error)}`));
  }

  private get fileName(): string {
    return fileName(this.state, this.host.name());
  }

  /** What is shown is a copy, coarser in time; what is saved is all, where it can be had. */
  private async saveWhole(): Promise<void> {
    const { messages, state } = this;
    const shown = state.container;
    messages.say('Asking for the whole profile');
    try {
      const whole = await this.host.whole();
      saveContainer(whole ?? shown, whole === null, this.fileName);
      if (whole === null) messages.warn('This page holds no more than is shown: the file is as coarse in time.');
    } catch (error) {
      messages.warn(`The whole profile cannot be had: ${reason(error)}`, [
        { text: 'Save it coarser in time', run: () => saveContainer(shown, true, this.fileName) },
      ]);
    }
  }

  private openSpeedscope(): void {
    // Opened within the click: a browser takes a tab that opens later for a pop-up.
    const tab = window.open('', '_blank');
    if (!tab) {
      this.messages.say('The browser refused a new tab');
      this.state.update({ view: 'speedscope' });
      return;
    }
    tab.document.title = 'Speedscope';
    tab.document.body.textContent = 'Loading Speedscope…';
    const { whole } = this.state;
    this.host
      .speedscope()
      .then((page) => {
        if (page === null) throw new Error('it is not part of this page');
        tab.location.href = speedscopeUrl(page, whole, { name: this.fileName, dark: this.state.dark });
      })
      .catch((error: unknown) => {
        tab.close();
        this.messages.warn(`Speedscope was not opened: ${reason(error)}`, [
          { text: 'Save the Speedscope file', run: () => this.save('speedscope') },
        ]);
      });
  }

  private showNotes(): void {
    if (!this.state.profile) return;
    const notes = notesOf(this.state.data);
    this.notes.replaceChildren(
      ...notes.map(({ text, warning }) => h('span', { class: warning ? 'sp-note sp-warning' : 'sp-note' }, text)),
    );
  }

  private showCrumbs(): void {
    const crumbs = this.view.crumbs();
    const filters = this.toolbar.filters();
    const elements: HTMLElement[] = [];
    crumbs.forEach(({ text, go, action }, i) => {
      if (i > 0 && !action) elements.push(h('span', { class: 'sp-separator', 'aria-hidden': 'true' }, '›'));
      const current = !action && (i === crumbs.length - 1 || crumbs[i + 1].action === true);
      elements.push(
        button(text, { class: action ? 'sp-action' : 'sp-crumb', 'aria-current': current ? 'true' : null }, go),
      );
    });
    const focused = this.crumbs.matches(':focus-within');
    this.crumbs.replaceChildren(...elements, ...filters);
    this.crumbs.hidden = elements.length + filters.length === 0;
    // The button that was pressed is gone; the keyboard must not be lost with it.
    if (focused) this.view.focus();
  }

  /** To the next frame that the search found, or the one before; round at the ends. */
  private step(by: 1 | -1): void {
    const { state } = this;
    const { matchedNodes } = state;
    const at = matchedNodes.indexOf(state.selectedNode());
    const next = at < 0 ? (by > 0 ? 0 : -1) : at + by;
    const node = matchedNodes[(next + matchedNodes.length) % matchedNodes.length];
    const func = functionOf(state.aggregate.tree, node);
    if (func === null) return;
    this.select({ func, stack: state.stackOf(node) });
    this.view.reveal?.(node);
  }

  private label(func: FuncRow): string {
    return `${this.state.names.name(func)} (${this.state.names.location(func)})`;
  }

  private selected(): Selected {
    const { selection } = this.state.choices;
    if (!selection || !this.state.profile) return {};
    const { names, data, table, tree } = this.state;
    const whole = tree.total[0];
    const node = this.state.selectedNode();
    const total =
      selection.stack.length > 0 && node >= 0
        ? this.state.aggregate.tree.total[node]
        : (table.find(({ func }) => func === selection.func)?.total ?? 0);
    return {
      function: names.name(selection.func),
      file: names.place(selection.func).path,
      line: data.funcLine[selection.func],
      stack: selection.stack.map((func) => this.label(func)),
      share: whole > 0 ? total / whole : 0,
    };
  }

  private onKey(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    const typing = target.matches('input, select, textarea');
    if (event.ctrlKey || event.metaKey || event.altKey || !this.state.profile) return;
    if (event.key === 'Escape') {
      event.preventDefault();
      this.back(typing);
    } else if (typing) {
      if (event.key !== 'Enter' || !target.matches('input')) return;
      this.toolbar.searchNow();
      if (this.state.matchedNodes.length > 0) this.step(event.shiftKey ? -1 : 1);
      else this.view.focus();
    } else if ((event.key === 'n' || event.key === 'N') && this.state.matchedNodes.length > 0) {
      event.preventDefault();
      this.step(event.key === 'N' ? -1 : 1);
    } else if (event.key === '/') {
      event.preventDefault();
      this.toolbar.focusSearch();
    } else if (event.key === 'Backspace') {
      event.preventDefault();
      this.view.back();
    } else if (event.key === '0') {
      this.view.reset();
    } else if (event.key === '?') {
      this.toolbar.showKeys();
    } else if (this.toolbar.onKey(event.key) || this.details.onKey(event.key)) {
      event.preventDefault();
      this.keepFocus(target);
    } else if (Number(event.key) >= 1 && Number(event.key) <= VIEWS.length) {
      this.setView(VIEWS[Number(event.key) - 1]);
      this.view.focus();
    }
  }

  /** What had the focus may be gone by what it did; the keyboard must not be lost with it. */
  private keepFocus(had: HTMLElement): void {
    if (!had.isConnected || had.closest('[hidden]')) this.view.focus();
  }

  /** One step out: an open panel, the search field, the zoom, the search, the selection. */
  private back(typing: boolean): void {
    if (this.toolbar.closePanels()) return;
    if (typing) {
      this.setSearch('');
      this.view.focus();
    } else if (this.view.back()) {
      return;
    } else if (this.state.choices.search) {
      this.setSearch('');
    } else if (this.state.choices.selection) {
      this.select(null);
    }
  }
}
