// Owns long lists: only the rows in sight are elements.
import { h } from '../dom/elements';

export const LINE = 22;
const OVERSCAN = 6;

/** A scroller around a table whose body is filled row by row as it comes into sight. */
export class Rows {
  readonly element: HTMLElement;
  readonly body = h('tbody');
  private readonly table: HTMLTableElement;
  private count = 0;
  private first = -1;
  private last = -1;
  private readonly observer: ResizeObserver;

  constructor(
    head: HTMLTableSectionElement,
    label: string,
    private readonly make: (row: number) => HTMLTableRowElement,
    role: 'grid' | 'treegrid' = 'grid',
  ) {
    this.table = h('table', { class: 'sp-table', role, 'aria-label': label }, head, this.body);
    // A scroller must be reachable by keyboard, or its lower rows are not.
    this.element = h('div', { class: 'sp-rows', tabindex: '0', role: 'region', 'aria-label': label }, this.table);
    this.element.addEventListener('scroll', () => this.fill(false));
    this.observer = new ResizeObserver(() => this.fill(false));
    this.observer.observe(this.element);
  }

  get height(): number {
    return (this.count + 1) * LINE + 6;
  }

  show(count: number): void {
    this.count = count;
    this.table.setAttribute('aria-rowcount', String(count + 1));
    this.fill(true);
  }

  reveal(row: number): void {
    const top = row * LINE;
    const { scrollTop, clientHeight } = this.element;
    // The head stands still above the rows.
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + 2 * LINE > scrollTop + clientHeight) this.element.scrollTop = top + 2 * LINE - clientHeight;
    this.fill(false);
  }

  private fill(anew: boolean): void {
    const height = this.element.clientHeight;
    if (height === 0) return;
    const first = Math.max(0, Math.floor(this.element.scrollTop / LINE) - OVERSCAN);
    const last = Math.min(this.count, Math.ceil((this.element.scrollTop + height) / LINE) + OVERSCAN);
    if (!anew && first === this.first && last === this.last) return;
    this.first = first;
    this.last = last;
    const focused = this.body.querySelector<HTMLElement>('tr:focus')?.dataset.row;
    const spacer = (rows: number): HTMLTableRowElement | null => {
      if (rows === 0) return null;
      const row = h('tr', { class: 'sp-spacer-row', 'aria-hidden': 'true' }, h('td'));
      row.style.height = `${rows * LINE}px`;
      return row;
    };
    const made: HTMLTableRowElement[] = [];
    for (let row = first; row < last; row++) {
      const element = this.make(row);
      element.setAttribute('aria-rowindex', String(row + 2));
      made.push(element);
    }
    this.body.replaceChildren(...[spacer(first), ...made, spacer(this.count - last)].filter((row) => row !== null));
    if (focused !== undefined)
      this.body.querySelector<HTMLElement>(`[data-row="${focused}"]`)?.focus({ preventScroll: true });
  }

  dispose(): void {
    this.observer.disconnect();
  }
}
