// Owns the table of functions: own and total time, sortable, filtered by the search.

import { button, h } from '../dom/elements';
import { intervalText } from '../profile/confidence';
import * as format from '../profile/format';
import { type FunctionRow, type SortKey, sortRows } from '../profile/table';
import { Rows } from './rows';
import type { Context, Crumb, View } from './view';

const COLUMNS: { key: SortKey; text: string; hint: string }[] = [
  { key: 'name', text: 'Function', hint: 'By name' },
  { key: 'self', text: 'Self', hint: 'Time in the function itself' },
  { key: 'total', text: 'Total', hint: 'Time in the function and all that it called' },
  { key: 'change', text: 'Change', hint: 'Total time compared with before' },
  { key: 'samples', text: 'Samples', hint: 'Samples with the function on the stack' },
  { key: 'module', text: 'Module', hint: 'By module' },
];

export class TableView implements View {
  private readonly rows: Rows;
  private readonly heads = new Map<SortKey, HTMLTableCellElement>();
  private by: SortKey = 'self';
  private descending = true;
  private shown: FunctionRow[] = [];
  /** What the rows were last made of. */
  private of: readonly FunctionRow[] | null = null;

  constructor(
    private readonly context: Context,
    /** What a double click or Enter on a row does beside selecting it. */
    private readonly open: () => void,
    private readonly compact = false,
  ) {
    const head = h('tr');
    for (const { key, text, hint } of COLUMNS) {
      if (compact && key !== 'name' && key !== 'self' && key !== 'total') continue;
      const cell = h(
        'th',
        { scope: 'col', class: `sp-col-${key}` },
        button(text, { title: hint }, () => this.sort(key)),
      );
      this.heads.set(key, cell);
      head.append(cell);
    }
    this.rows = new Rows(h('thead', {}, head), 'Functions', (row) => this.line(row));
    this.rows.element.classList.toggle('sp-compact', compact);
    this.rows.body.addEventListener('click', (event) => this.choose(event.target as Element));
    this.rows.body.addEventListener('dblclick', () => this.open());
    this.rows.body.addEventListener('keydown', (event) => this.onKey(event));
  }

  get element(): HTMLElement {
    return this.rows.element;
  }

  get height(): number {
    return this.rows.height;
  }

  private sort(key: SortKey): void {
    this.descending = this.by === key ? !this.descending : key !== 'name' && key !== 'module';
    this.by = key;
    this.of = null;
    this.fill();
  }

  show(): void {
    this.fill();
  }

  private fill(): void {
    const { state } = this.context;
    const { matches, names, data } = state;
    const rows = matches ? state.table.filter(({ func }) => matches[func]) : state.table;
    this.shown = sortRows(rows, this.by, this.descending, (func) => ({
      name: names.title(func),
      module: names.place(func).module,
    }));
    for (const [key, cell] of this.heads) {
      if (key === this.by) cell.setAttribute('aria-sort', this.descending ? 'descending' : 'ascending');
      else cell.removeAttribute('aria-sort');
      if (key === 'change') cell.hidden = !data.sampleBaseline;
    }
    // Ranges take room, which columns of certain shares need not have.
    this.rows.element.classList.toggle('sp-uncertain', !this.compact && this.shown.some((row) => this.isWide(row)));
    this.rows.show(this.shown.length);
    const { selection } = state.choices;
    if (this.of !== state.table && selection) {
      const at = this.shown.findIndex(({ func }) => func === selection.func);
      if (at >= 0) this.rows.reveal(at);
    }
    this.of = state.table;
  }

  private range(ns: number, evidence: number): string {
    const { tree } = this.context.state;
    return tree.total[0] > 0 ? intervalText(ns / tree.total[0], tree.totalCount[0] * evidence) : '';
  }

  private isWide({ func, self, total }: FunctionRow): boolean {
    const { evidence } = this.context.state;
    return this.range(self, evidence.ofSelf(func)) !== '' || this.range(total, evidence.ofTotal(func)) !== '';
  }

  private line(row: number): HTMLTableRowElement {
    const { state } = this.context;
    const { names } = state;
    const { func, self, total, totalCount, baseline } = this.shown[row];
    const whole = state.tree.total[0];
    const selected = state.choices.selection?.func === func;
    const time = (ns: number, kind: string, evidence: number): HTMLTableCellElement => {
      const range = this.range(ns, evidence);
      const bar = h('i', { class: 'sp-bar' });
      bar.style.width = `${whole > 0 ? Math.max(0, Math.min(100, (ns / whole) * 100)) : 0}%`;
      return h(
        'td',
        { class: `sp-number sp-col-${kind}`, title: range && `${range} of the time in 95 of 100 cases` },
        bar,
        h('span', {}, format.duration(ns)),
        h('span', { class: 'sp-share' }, format.share(ns, whole)),
        this.compact ? null : h('span', { class: 'sp-range' }, range),
      );
    };
    const quiet = state.quiet?.[func];
    const native = names.native(func);
    const title = names.title(func);
    const where = names.place(func);
    const cells: (HTMLTableCellElement | null)[] = [
      h(
        'td',
        { class: 'sp-col-name', title: `${names.name(func)}  ${where.path}` },
        native ? h('em', {}, title) : title,
        native && !this.compact ? h('span', { class: 'sp-tag' }, 'native') : null,
        this.compact ? h('span', { class: 'sp-share' }, names.module(func) && ` ${names.module(func)}`) : null,
      ),
      time(self, 'self', state.evidence.ofSelf(func)),
      time(total, 'total', state.evidence.ofTotal(func)),
      this.compact || !state.data.sampleBaseline
        ? null
        : h(
            'td',
            {
              class: `sp-number sp-col-change ${quiet ? 'sp-quiet' : total > baseline ? 'sp-more' : total < baseline ? 'sp-less' : ''}`,
              title: quiet ? 'The change of its share is within noise' : null,
            },
            format.change(total - baseline),
          ),
      this.compact ? null : h('td', { class: 'sp-number sp-col-samples' }, format.count(totalCount)),
      this.compact ? null : h('td', { class: 'sp-col-module', title: where.path }, names.location(func)),
    ];
    const line = h('tr', {
      'data-row': row,
      tabindex: selected || row === 0 ? '0' : '-1',
      'aria-selected': String(selected),
      class: selected ? 'sp-on' : null,
    });
    for (const cell of cells) if (cell) line.append(cell);
    return line;
  }

  private choose(target: Element): void {
    const line = target.closest('tr');
    if (line?.dataset.row === undefined) return;
    this.select(Number(line.dataset.row));
  }

  private select(row: number): void {
    this.context.select({ func: this.shown[row].func, stack: [] });
    this.rows.reveal(row);
    this.rows.body.querySelector<HTMLElement>(`[data-row="${row}"]`)?.focus({ preventScroll: true });
  }

  private onKey(event: KeyboardEvent): void {
    const line = (event.target as Element).closest('tr');
    if (line?.dataset.row === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    const row = Number(line.dataset.row);
    const steps: Record<string, number> = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: 15,
      PageUp: -15,
      Home: -row,
      End: this.shown.length,
    };
    if (event.key in steps) this.select(Math.max(0, Math.min(this.shown.length - 1, row + steps[event.key])));
    else if (event.key === 'Enter') this.open();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  focus(): void {
    (this.rows.body.querySelector<HTMLElement>('tr[tabindex="0"]') ?? this.rows.element).focus({ preventScroll: true });
  }

  back(): boolean {
    return false;
  }

  reset(): void {
    this.rows.element.scrollTop = 0;
  }

  crumbs(): Crumb[] {
    return [];
  }

  dispose(): void {
    this.rows.dispose();
  }
}
