// Owns the call tree as a list: who called whom, heaviest first, in entries that open and close.

import { h } from '../dom/elements';
import * as format from '../profile/format';
import { type Entry, openNodes } from '../profile/open-nodes';
import { functionOf, isFunction, threadOf } from '../profile/tree';
import { native, threadLabel, title } from '../state/describe';
import { Rows } from './rows';
import type { Context, Crumb, View } from './view';

/** Further in than this an entry stands no further to the right. */
const STEPS = 40;
const STEP = 13;

export class CallTreeView implements View {
  private readonly rows: Rows;
  private readonly change = h('th', { scope: 'col', class: 'sp-col-change' }, 'Change');
  private entries: Entry[] = [];
  /** What a reader opened or closed, by place. */
  private readonly decided = new Map<string, boolean>();
  /** Where the keyboard is. */
  private place = '';

  constructor(private readonly context: Context) {
    const head = h(
      'thead',
      {},
      h(
        'tr',
        {},
        h('th', { scope: 'col', class: 'sp-col-total' }, 'Total'),
        h('th', { scope: 'col', class: 'sp-col-self' }, 'Self'),
        this.change,
        h('th', { scope: 'col', class: 'sp-col-name' }, 'Call'),
      ),
    );
    this.rows = new Rows(head, 'Calls', (row) => this.line(row), 'treegrid');
    this.rows.element.classList.add('sp-call-tree');
    this.rows.body.addEventListener('click', (event) => this.onClick(event));
    this.rows.body.addEventListener('dblclick', (event) => {
      const row = this.rowOf(event);
      if (row !== null && !this.onTwisty(event)) this.toggle(row);
    });
    this.rows.body.addEventListener('keydown', (event) => this.onKey(event));
  }

  get element(): HTMLElement {
    return this.rows.element;
  }

  get height(): number {
    return this.rows.height;
  }

  show(): void {
    const { state } = this.context;
    const { tree } = state.aggregate;
    this.change.hidden = !tree.baseline;
    const { names } = state;
    this.entries = openNodes(
      tree,
      (key) => {
        if (isFunction(key)) return names.identity(key);
        const thread = threadOf(key);
        return thread === null ? '' : threadLabel(state, thread);
      },
      this.decided,
    );
    // Marks of a search and of the selection are the rows' own.
    void state.matches;
    void state.choices.selection;
    this.rows.show(this.entries.length);
  }

  private line(row: number): HTMLTableRowElement {
    const { state } = this.context;
    const { tree } = state.aggregate;
    const { node, place, open, leaf } = this.entries[row];
    const whole = tree.total[0];
    const func = functionOf(tree, node);
    const selected = node === state.selectedNode();
    const time = (ns: number, kind: string): HTMLTableCellElement => {
      const bar = h('i', { class: 'sp-bar' });
      bar.style.width = `${whole > 0 ? Math.max(0, Math.min(100, (ns / whole) * 100)) : 0}%`;
      return h(
        'td',
        { class: `sp-number sp-col-${kind}` },
        bar,
        h('span', {}, format.duration(ns)),
        h('span', { class: 'sp-share' }, format.share(ns, whole)),
      );
    };
    const moved = tree.baseline ? tree.total[node] - tree.baseline[node] : 0;
    const twisty = h('i', { class: 'sp-twisty', 'aria-hidden': 'true' }, leaf ? '' : open ? '▾' : '▸');
    const matched = func !== null && state.matches?.[func];
    const name = h(
      'td',
      {
        class: 'sp-col-name',
        title: func === null ? null : `${state.names.name(func)}  ${state.names.location(func)}`,
      },
      twisty,
      native(state, tree, node) ? h('em', {}, title(state, tree, node)) : h('span', {}, title(state, tree, node)),
      h('span', { class: 'sp-share' }, func === null ? '' : state.names.module(func)),
    );
    name.style.paddingLeft = `${Math.min(STEPS, tree.depth[node] - 1) * STEP + 4}px`;
    const line = h('tr', {
      'data-row': row,
      'aria-level': tree.depth[node],
      'aria-expanded': leaf ? null : String(open),
      'aria-selected': String(selected),
      tabindex: this.isCurrent(place, row) ? '0' : '-1',
      class:
        [selected ? 'sp-on' : '', matched ? 'sp-found' : state.matches ? 'sp-unfound' : ''].join(' ').trim() || null,
    });
    line.append(
      time(tree.total[node], 'total'),
      // In a tree of callers a frame stands for time further up.
      state.choices.inverted ? h('td', { class: 'sp-number sp-col-self' }) : time(tree.self[node], 'self'),
    );
    if (tree.baseline) {
      const tone = moved > 0 ? 'sp-more' : moved < 0 ? 'sp-less' : '';
      line.append(h('td', { class: `sp-number sp-col-change ${tone}` }, format.change(moved)));
    }
    line.append(name);
    return line;
  }

  private isCurrent(place: string, row: number): boolean {
    return this.entries.some((entry) => entry.place === this.place) ? place === this.place : row === 0;
  }

  private rowOf(event: Event): number | null {
    const row = (event.target as Element).closest<HTMLElement>('tr[data-row]')?.dataset.row;
    return row === undefined ? null : Number(row);
  }

  private onTwisty(event: Event): boolean {
    return (event.target as Element).classList.contains('sp-twisty');
  }

  private onClick(event: Event): void {
    const row = this.rowOf(event);
    if (row === null) return;
    if (this.onTwisty(event)) this.toggle(row);
    else this.go(row);
  }

  private toggle(row: number, open = !this.entries[row].open): void {
    const { place, leaf } = this.entries[row];
    if (leaf) return;
    this.decided.set(place, open);
    this.place = place;
    this.show();
    this.context.resized();
    this.focusRow(row);
  }

  /** Selects an entry; a thread's is only where the keyboard is. */
  private go(row: number): void {
    const { state } = this.context;
    const { node, place } = this.entries[row];
    this.place = place;
    const func = functionOf(state.aggregate.tree, node);
    this.context.select(func === null ? null : { func, stack: state.stackOf(node) });
    this.rows.show(this.entries.length);
    this.focusRow(row);
  }

  private focusRow(row: number): void {
    this.rows.reveal(row);
    this.rows.body.querySelector<HTMLElement>(`[data-row="${row}"]`)?.focus({ preventScroll: true });
  }

  private onKey(event: KeyboardEvent): void {
    const row = this.rowOf(event);
    if (row === null || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const last = this.entries.length - 1;
    const steps: Record<string, number> = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: 15,
      PageUp: -15,
      Home: -row,
      End: last,
    };
    const { node, open, leaf } = this.entries[row];
    const { parent } = this.context.state.aggregate.tree;
    if (event.key in steps) this.go(Math.max(0, Math.min(last, row + steps[event.key])));
    else if (event.key === 'ArrowRight' && !leaf && !open) this.toggle(row, true);
    else if (event.key === 'ArrowRight') this.go(leaf ? row : row + 1);
    else if (event.key === 'ArrowLeft' && open) this.toggle(row, false);
    else if (event.key === 'ArrowLeft')
      this.go(
        Math.max(
          0,
          this.entries.findIndex((entry) => entry.node === parent[node]),
        ),
      );
    else if (event.key === 'Enter' || event.key === ' ') this.toggle(row);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Opens what is above a node, and shows it. */
  reveal(node: number): void {
    const { tree } = this.context.state.aggregate;
    const above = new Set<number>();
    for (let up = tree.parent[node]; up > 0; up = tree.parent[up]) above.add(up);
    // Each that is opened brings the next into the list.
    for (let at = 0; at < this.entries.length; at++) {
      const { node: here, place, open } = this.entries[at];
      if (!above.has(here) || open) continue;
      this.decided.set(place, true);
      this.show();
    }
    const row = this.entries.findIndex((entry) => entry.node === node);
    if (row < 0) return;
    this.place = this.entries[row].place;
    this.context.resized();
    this.rows.show(this.entries.length);
    this.rows.reveal(row);
  }

  focus(): void {
    (this.rows.body.querySelector<HTMLElement>('tr[tabindex="0"]') ?? this.rows.element).focus({ preventScroll: true });
  }

  back(): boolean {
    return false;
  }

  reset(): void {
    this.decided.clear();
    this.place = '';
    this.rows.element.scrollTop = 0;
    this.show();
  }

  crumbs(): Crumb[] {
    return [];
  }

  dispose(): void {
    this.rows.dispose();
  }
}
