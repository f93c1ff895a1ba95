// Owns the source view: the lines of one file with the time of each beside it.

import { h } from '../dom/elements';
import * as format from '../profile/format';
import { colouredLines, type Piece } from '../profile/python-syntax';
import type { FuncRow, StringRow } from '../profile/rows';
import type { LineTime } from '../profile/source';
import type { FunctionRow } from '../profile/table';
import { LINE, Rows } from './rows';
import type { Context, Crumb, View } from './view';

interface Shown {
  line: number;
  text: string;
}

/** Files with a smaller share are not offered. */
const LEAST = 0.0005;

const coloured = ({ kind, text }: Piece): Node =>
  kind === 'plain' ? document.createTextNode(text) : h('span', { class: `sp-py-${kind}` }, text);

export class SourceView implements View {
  readonly element: HTMLElement;
  private readonly rows: Rows;
  private colours: Piece[][] = [];
  private readonly files = h('select', { class: 'sp-select sp-files', 'aria-label': 'File' });
  private readonly note = h('span', { class: 'sp-hint' });
  private lines: Shown[] = [];
  private whole = 0;
  private hottest = 0;
  private shown: { func: FuncRow; times: ReadonlyMap<number, LineTime> } | null = null;
  private filesOf: readonly FunctionRow[] | null = null;
  /** By path; null where the host has none. */
  private readonly texts = new Map<string, Promise<string | null>>();

  constructor(private readonly context: Context) {
    const head = h(
      'thead',
      {},
      h('tr', {}, ...['Line', 'Self', 'Total', 'Source'].map((text) => h('th', { scope: 'col' }, text))),
    );
    this.rows = new Rows(head, 'Lines', (row) => this.line(row));
    this.rows.element.classList.add('sp-source');
    this.files.addEventListener('change', () =>
      context.select({ func: Number(this.files.value) as FuncRow, stack: [] }),
    );
    this.element = h(
      'div',
      { class: 'sp-source-view' },
      h('div', { class: 'sp-source-head' }, this.files, this.note),
      this.rows.element,
    );
  }

  get height(): number {
    return Math.max(8, this.lines.length + 3) * LINE;
  }

  show(): void {
    const { state } = this.context;
    this.fillFiles(state.table);
    const { func, times } = state.source;
    if (func === null) {
      this.shown = null;
      this.lines = [];
      this.rows.show(0);
      this.note.textContent = 'Nothing was sampled';
      return;
    }
    const { shown } = this;
    this.shown = { func, times };
    this.mark(func);
    if (shown?.times === times) {
      if (shown.func !== func) this.scrollTo(func);
      return;
    }
    this.whole = state.tree.total[0];
    this.hottest = Math.max(0, ...Array.from(times.values(), ({ total }) => total));
    this.fill(func, null);
    void this.textOf(state.names.place(func).path).then((found) => {
      if (this.shown?.times === times) this.fill(this.shown.func, found);
    });
  }

  private textOf(path: string): Promise<string | null> {
    const known = this.texts.get(path) ?? this.context.source(path).catch(() => null);
    this.texts.set(path, known);
    // A host that has no answer now, as a kernel that is busy, may have one later.
    void known.then((text) => text === null && this.texts.delete(path));
    return known;
  }

  /** One entry a file that has lines, by the time its functions burn themselves. */
  private fillFiles(table: readonly FunctionRow[]): void {
    const { state } = this.context;
    if (this.filesOf === table) return;
    this.filesOf = table;
    const byFile = new Map<StringRow, { func: FuncRow; self: number; most: number; total: number }>();
    for (const { func, self, total } of table) {
      if (state.names.native(func)) continue;
      const file = state.data.funcFile[func];
      const entry = byFile.get(file) ?? { func, self: 0, most: -1, total: 0 };
      entry.self += self;
      entry.total = Math.max(entry.total, total);
      if (self > entry.most) Object.assign(entry, { func, most: self });
      byFile.set(file, entry);
    }
    const whole = state.tree.total[0];
    const options = Array.from(byFile.entries())
      // A file of which nothing can be said is in nobody's way, unless it is all there is.
      .filter(([, { total }], _, all) => all.length === 1 || total >= LEAST * whole)
      .sort(([, a], [, b]) => b.self - a.self)
      .map(([file, { func, self, total }]) =>
        h(
          'option',
          { value: func, 'data-file': file },
          `${state.names.place(func).file || '?'} · ${format.share(total, whole)}, ${format.share(self, whole)} self`,
        ),
      );
    this.files.replaceChildren(...options);
  }

  private mark(func: FuncRow): void {
    const file = String(this.context.state.data.funcFile[func]);
    let option = Array.from(this.files.options).find(({ dataset }) => dataset.file === file);
    if (!option) {
      const { names } = this.context.state;
      option = h('option', { value: func, 'data-file': file }, names.place(func).file || '?');
      this.files.append(option);
    }
    this.files.value = option.value;
  }

  private fill(func: FuncRow, text: string | null): void {
    const { names } = this.context.state;
    if (text) {
      const lines = text.replace(/\r?\n$/, '').split(/\r?\n/);
      this.lines = lines.map((line, i) => ({ line: i + 1, text: line }));
      this.colours = colouredLines(lines);
      this.note.textContent = names.location(func);
    } else {
      // The figures are worth showing even where the text is not at hand.
      this.lines = Array.from(this.shown?.times.keys() ?? [])
        .filter((line) => line > 0)
        .sort((a, b) => a - b)
        .map((line) => ({ line, text: '' }));
      this.colours = [];
      this.note.textContent = names.native(func)
        ? 'Native code: no lines'
        : 'The source that ran is not available here; these are its lines that took time';
    }
    this.rows.show(this.lines.length);
    this.context.resized();
    this.scrollTo(func);
  }

  private scrollTo(func: FuncRow): void {
    const first = this.context.state.data.funcLine[func];
    const at = this.lines.findIndex(({ line }) => line >= first);
    if (at >= 0) this.rows.element.scrollTop = Math.max(0, at - 2) * LINE;
    this.rows.show(this.lines.length);
  }

  private line(row: number): HTMLTableRowElement {
    const { line, text } = this.lines[row];
    const time = this.shown?.times.get(line);
    const cell = (ns: number): HTMLTableCellElement => {
      if (ns === 0) return h('td', { class: 'sp-number' });
      const bar = h('i', { class: 'sp-bar' });
      bar.style.width = `${(ns / this.hottest) * 100}%`;
      return h(
        'td',
        { class: 'sp-number' },
        bar,
        h('span', {}, format.duration(ns)),
        h('span', { class: 'sp-share' }, format.share(ns, this.whole)),
      );
    };
    const first = this.shown === null ? 0 : this.context.state.data.funcLine[this.shown.func];
    const heat = time && this.hottest > 0 ? Math.round((time.total / this.hottest) * 4) : 0;
    return h(
      'tr',
      { class: `sp-heat-${heat}${line === first ? ' sp-on' : ''}` },
      h('th', { scope: 'row', class: 'sp-line-number' }, String(line)),
      cell(time?.self ?? 0),
      cell(time?.total ?? 0),
      h('td', { class: 'sp-code' }, ...(this.colours[row]?.map(coloured) ?? [text])),
    );
  }

  focus(): void {
    this.rows.element.focus({ preventScroll: true });
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
