// Owns the line below the views: the selected frame in figures, and what can be done with it.

import { button, h } from '../dom/elements';
import * as format from '../profile/format';
import { describe } from '../state/describe';
import { keep, type State } from '../state/state';
import { VIEW_KINDS } from '../views/registry';

export interface DetailsEvents {
  copy(text: string): void;
}

export class Details {
  readonly element = h('div', { class: 'sp-details', role: 'group', 'aria-label': 'Selected frame' });
  private first: HTMLButtonElement | null = null;
  private readonly stop: () => void;

  constructor(
    private readonly state: State,
    private readonly events: DetailsEvents,
  ) {
    this.stop = keep(() => this.show());
  }

  dispose(): void {
    this.stop();
  }

  private show(): void {
    const { state } = this;
    if (!state.profile) return;
    const { selection } = state.choices;
    this.first = null;
    if (!selection) {
      this.element.replaceChildren(h('span', { class: 'sp-hint' }, VIEW_KINDS[state.choices.view].help));
      return;
    }
    const { names, data } = state;
    const { tree } = state.aggregate;
    const node = state.selectedNode();
    const { func } = selection;
    const where = names.place(func);
    const row = state.table.find((candidate) => candidate.func === func);
    const figures: [string, string][] = [];
    if (node >= 0) {
      for (const [name, value] of describe(state, tree, node).figures) figures.push([name.toLowerCase(), value]);
    }
    if (row) {
      const whole = state.tree.total[0];
      figures.push([
        'everywhere',
        `${format.duration(row.total)} · ${format.share(row.total, whole)} · ${format.counted(row.totalCount, 'sample')}`,
      ]);
    }
    const action = (text: string, hint: string, run: () => void): HTMLButtonElement =>
      button(text, { class: 'sp-action', title: hint }, run);
    const actions = [
      action('Focus', 'Only what goes through this function (f)', () => this.onKey('f')),
      action('Hide', 'Leave this function out, its time goes to its caller (h)', () => this.onKey('h')),
      action(`Only ${where.group}`, 'Only what goes through this module (Shift + f)', () => this.onKey('F')),
      action(`Hide ${where.group}`, 'Leave the whole module out (m)', () => this.onKey('m')),
      action('Callers, callees', 'Its callers and callees (s)', () => this.onKey('s')),
      action('Lines', 'Its source line by line (o)', () => this.onKey('o')),
      action('Copy stack', 'The stack as text (c)', () => this.onKey('c')),
    ];
    this.first = actions[0];
    this.element.replaceChildren(
      h(
        'span',
        { class: 'sp-selected' },
        h('strong', { title: names.name(func) }, names.title(func)),
        names.native(func) ? h('em', {}, ' native') : null,
        ' ',
        h('span', { class: 'sp-path', title: where.path }, names.location(func, data.funcLine[func])),
        names.whole(func) ? h('code', { class: 'sp-whole', tabindex: '0' }, names.whole(func)) : null,
      ),
      h(
        'dl',
        { class: 'sp-figures' },
        ...figures.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))),
      ),
      h('span', { class: 'sp-actions' }, ...actions),
    );
  }

  focusActions(): void {
    this.first?.focus();
  }

  /** Runs the action of a key on the selection; false where the key means nothing. */
  onKey(key: string): boolean {
    const { state } = this;
    const { selection, tree } = state.choices;
    if (!selection) return false;
    const { func } = selection;
    const { group } = state.names.place(func);
    if (key === 'f') state.update({ tree: { ...tree, focusFunction: func }, zoom: [] });
    else if (key === 'F') state.update({ tree: { ...tree, focusGroup: group }, zoom: [] });
    else if (key === 'h')
      state.update({ tree: { ...tree, hideFunctions: new Set([...tree.hideFunctions, func]) }, zoom: [] });
    else if (key === 'm')
      state.update({ tree: { ...tree, hideGroups: new Set([...tree.hideGroups, group]) }, zoom: [] });
    else if (key === 's') state.update({ view: 'sandwich' });
    else if (key === 'o') state.update({ view: 'source' });
    else if (key === 'c') this.events.copy(this.stackText());
    else return false;
    return true;
  }

  /** The selected stack as a traceback reads: outermost call first. */
  private stackText(): string {
    const { names, choices } = this.state;
    const { selection } = choices;
    if (!selection) return '';
    const stack = selection.stack.length > 0 ? selection.stack : [selection.func];
    return stack.map((func) => `${names.name(func)} (${names.location(func)})`).join('\n');
  }
}
