// Owns the controls above the views. Holds no choice itself: it shows the state's and changes them there.

import { button, h } from '../dom/elements';
import { DOINGS } from '../profile/causes';
import { type ColorMode, css } from '../profile/colors';
import type { Profile } from '../profile/container';
import * as format from '../profile/format';
import { isOf, type ProcessChoice, roleChoices } from '../profile/processes';
import { rowsOf, type ThreadRow } from '../profile/rows';
import { TYPED_PATTERN } from '../profile/search';
import { VIEWS, type ViewName } from '../state/choices';
import { threadLabel } from '../state/describe';
import { keep, type State } from '../state/state';
import { VIEW_KINDS } from '../views/registry';
import type { ExportKind } from './export';
import { Menu } from './menu';
import { RegionChoice } from './region-choice';

export interface ToolbarEvents {
  reset(): void;
  save(kind: ExportKind): void;
  step(by: 1 | -1): void;
  speedscope(): void;
}

const COLOR_TITLES: Record<ColorMode, string> = {
  module: 'Colour: module',
  kind: 'Colour: native or Python',
  self: 'Colour: self time',
  diff: 'Colour: change',
  waits: 'Colour: what it waits for',
};

/** What the values of options begin with that stand for processes. */
const PROCESS = 'process ';

/** Modules in the legend. */
const LEGEND = 9;

/** A search starts when no letter has followed for this long. */
const TYPING_MS = 60;

const KEYS: [string, string][] = [
  ['1 – 8', 'views'],
  ['/', 'search; Enter goes to the next match'],
  ['n, N', 'next match, previous one'],
  ['arrows', 'caller, callee, neighbours'],
  ['Enter', 'zoom to the frame'],
  ['Esc, Backspace', 'one step back'],
  ['0, Home', 'whole profile'],
  ['+, −, Ctrl + wheel', 'zoom'],
  ['Shift + arrows, drag', 'pan'],
  ['f, h', 'focus function, hide it'],
  ['F, m', 'focus module, hide it'],
  ['i, r, a, l', 'invert, fold recursion, all frames, only my code'],
  ['s, o, c', 'sandwich, source, copy stack'],
];

export class Toolbar {
  readonly element: HTMLElement;
  private readonly views = new Map<ViewName, HTMLButtonElement>();
  private readonly search = h('input', {
    class: 'sp-search',
    type: 'search',
    placeholder: 'Search  /',
    'aria-label': 'Search functions',
    spellcheck: 'false',
    autocomplete: 'off',
  });
  /** What the search covers; stands beside the notes, where it moves nothing when it appears. */
  readonly matched = h('output', { class: 'sp-matched', 'aria-live': 'polite' });
  private processes: readonly ProcessChoice[] = [];
  private readonly position = h('span', { class: 'sp-position' });
  /** From one match to the next. */
  readonly steps = h('div', { class: 'sp-steps', role: 'group', 'aria-label': 'Matches', hidden: true });
  private readonly pattern: HTMLButtonElement;
  private readonly threads = h('select', { class: 'sp-select', 'aria-label': 'Threads' });
  private readonly region: RegionChoice;
  private readonly colors = h('select', { class: 'sp-select', 'aria-label': 'Colour' });
  private readonly inverted: HTMLButtonElement;
  private readonly allFrames: HTMLButtonElement;
  private readonly onlyOwn: HTMLButtonElement;
  private readonly recursion: HTMLButtonElement;
  private readonly running: HTMLButtonElement;
  private readonly options: Menu;
  private readonly exports: Menu;
  private readonly keys: Menu;
  private readonly legend = h('div', { class: 'sp-legend', role: 'group', 'aria-label': 'Modules by self time' });
  private typing = 0;
  private filledFor: Profile | null = null;
  private readonly stop: () => void;

  constructor(
    private readonly state: State,
    events: ToolbarEvents,
  ) {
    this.region = new RegionChoice(state);
    const group = h('div', { class: 'sp-views', role: 'group', 'aria-label': 'View' });
    VIEWS.forEach((view, i) => {
      const { title: text, hint } = VIEW_KINDS[view];
      const choose = button(text, { class: 'sp-view', 'aria-pressed': 'false', title: `${hint} (${i + 1})` }, () =>
        state.update({ view }),
      );
      this.views.set(view, choose);
      group.append(choose);
    });
    const toggle = (text: string, hint: string, flip: () => void): HTMLButtonElement =>
      button(text, { class: 'sp-toggle', 'aria-pressed': 'false', title: hint }, flip);
    this.inverted = toggle('Inverted', 'Start from the functions that burn the time, callers below them (i)', () =>
      state.update({ inverted: !state.choices.inverted, zoom: [] }),
    );
    this.allFrames = toggle('All frames', 'Also calls between calls, and what an import does (a)', () =>
      state.update({ allFrames: !state.choices.allFrames, zoom: [] }),
    );
    this.onlyOwn = toggle('Only my code', 'What libraries do belongs to the line that called them (l)', () =>
      state.update({ onlyOwn: !state.choices.onlyOwn, zoom: [] }),
    );
    this.recursion = toggle('Fold recursion', 'A function that calls itself is one frame (r)', () =>
      state.updateTree({ collapseRecursion: !state.choices.tree.collapseRecursion }),
    );
    this.running = toggle('Running only', 'Leave out samples of waiting threads', () =>
      state.updateTree({ runningOnly: !state.choices.tree.runningOnly }),
    );
    for (const ignored of [this.recursion, this.running]) ignored.classList.add('sp-ignored');
    this.pattern = toggle('.*', 'The search is a pattern (regular expression), not plain text', () => {
      this.searchNow();
      state.update({ pattern: state.choices.pattern === null ? TYPED_PATTERN : null });
    });
    this.pattern.setAttribute('aria-label', 'Search by pattern');
    this.pattern.classList.add('sp-pattern');
    this.steps.append(
      button('‹', { class: 'sp-step', 'aria-label': 'Previous match', title: 'Previous match (N)' }, () =>
        events.step(-1),
      ),
      this.position,
      button('›', { class: 'sp-step', 'aria-label': 'Next match', title: 'Next match (n)' }, () => events.step(1)),
    );
    this.search.addEventListener('input', () => {
      clearTimeout(this.typing);
      this.typing = window.setTimeout(() => this.searchNow(), TYPING_MS);
    });
    // Enter, or leaving the field: what was typed counts at once.
    this.search.addEventListener('change', () => this.searchNow());
    this.threads.addEventListener('change', () => this.chooseThreads(this.threads.value));
    this.colors.addEventListener('change', () => state.update({ colors: this.colors.value as ColorMode }));
    this.options = new Menu(
      'Options ▾',
      'Options',
      'Colours and what is counted',
      [this.colors, this.onlyOwn, this.recursion, this.running, this.legend],
      () => this.fillLegend(),
    );
    const item = (text: string, run: () => void): HTMLButtonElement => button(text, {}, run);
    this.exports = new Menu('Export ▾', 'Export', 'Save the picture or the profile, or open it in Speedscope', [
      item('Open in Speedscope ↗', () => events.speedscope()),
      item('Picture (SVG)', () => events.save('svg')),
      item('Picture (PNG)', () => events.save('png')),
      item('Speedscope file (JSON)', () => events.save('speedscope')),
      item('Profile (.spprof)', () => events.save('spprof')),
    ]);
    this.keys = new Menu('?', 'Keyboard', 'Keyboard (?)', [
      h('dl', { class: 'sp-keys' }, ...KEYS.flatMap(([key, what]) => [h('dt', {}, key), h('dd', {}, what)])),
    ]);
    this.element = h(
      'div',
      { class: 'sp-toolbar', role: 'toolbar', 'aria-label': 'Profile view' },
      group,
      h('div', { class: 'sp-searching' }, this.search, this.pattern),
      this.threads,
      this.region.element,
      this.inverted,
      this.allFrames,
      this.options.element,
      this.exports.element,
      this.keys.element,
      button('Reset', { class: 'sp-action', title: 'Whole profile: no zoom, search, filter or selection' }, () =>
        events.reset(),
      ),
    );
    this.stop = keep(() => this.show());
  }

  dispose(): void {
    clearTimeout(this.typing);
    this.region.dispose();
    this.stop();
  }

  /** Searches for what was typed, without waiting for more. */
  searchNow(): void {
    clearTimeout(this.typing);
    this.typing = 0;
    if (this.search.value !== this.state.choices.search) this.state.update({ search: this.search.value });
  }

  private chooseThreads(value: string): void {
    if (value === 'all') this.state.updateTree({ threads: null, split: false });
    else if (value === 'each') this.state.updateTree({ threads: null, split: true });
    else {
      const rows = this.processes[Number(value.slice(PROCESS.length))]?.threads ?? [];
      const threads = value.startsWith(PROCESS) ? rows : [Number(value) as ThreadRow];
      this.state.updateTree({ threads: new Set(threads), split: false });
    }
  }

  private show(): void {
    if (!this.state.profile) return;
    const { choices, coverage, query, tree } = this.state;
    for (const [view, choose] of this.views) choose.setAttribute('aria-pressed', String(view === choices.view));
    this.inverted.setAttribute('aria-pressed', String(choices.inverted));
    this.inverted.hidden = !['icicle', 'flame', 'tree'].includes(choices.view);
    this.allFrames.setAttribute('aria-pressed', String(choices.allFrames));
    this.allFrames.hidden = !this.state.folds;
    this.onlyOwn.setAttribute('aria-pressed', String(choices.onlyOwn));
    this.onlyOwn.hidden = !this.state.hasLibraries;
    this.recursion.setAttribute('aria-pressed', String(choices.tree.collapseRecursion));
    this.running.setAttribute('aria-pressed', String(choices.tree.runningOnly));
    // Text being typed is ahead of the search.
    if (this.typing === 0) this.search.value = choices.search;
    this.pattern.setAttribute('aria-pressed', String(choices.pattern !== null));
    this.search.setAttribute('aria-invalid', String(!!query?.problem));
    const { matchedNodes } = this.state;
    this.steps.hidden = matchedNodes.length === 0;
    const at = matchedNodes.length > 0 ? matchedNodes.indexOf(this.state.selectedNode()) + 1 : 0;
    this.position.textContent =
      at > 0 ? `${at} of ${matchedNodes.length}` : format.counted(matchedNodes.length, 'frame');
    if (query?.problem) this.matched.textContent = query.problem;
    else
      this.matched.textContent = coverage
        ? `${format.share(coverage.covered, tree.total[0])} in ${format.counted(coverage.functions, 'function')}`
        : '';
    this.matched.classList.toggle('sp-problem', !!query?.problem);
    if (this.filledFor !== this.state.data) this.fillChoices();
    const { threads, split } = choices.tree;
    this.threads.value = split ? 'each' : threads === null ? 'all' : this.chosen(threads);
    this.colors.value = choices.colors;
  }

  /** The option for these threads: one of them, or those of a process or role. */
  private chosen(threads: ReadonlySet<ThreadRow>): string {
    const at = this.processes.findIndex((each) => isOf(each, threads));
    return threads.size === 1 || at < 0 ? String([...threads][0]) : PROCESS + at;
  }

  /** The modules that burn most, in their colours; a click shows one alone. */
  private fillLegend(): void {
    const { state } = this;
    const { choices, groups } = state;
    const byModule = choices.colors === 'module';
    const painter = byModule ? state.functionPainter : null;
    const whole = state.tree.total[0];
    const entries = groups.slice(0, LEGEND).map(({ group, func, self }) => {
      const swatch = h('i', { class: 'sp-swatch', 'aria-hidden': 'true' });
      if (painter) swatch.style.background = css(painter.palette[painter.row(func)]);
      const entry = button(
        '',
        { 'aria-pressed': String(choices.tree.focusGroup === group), title: `Only what goes through ${group}` },
        () => {
          state.update({
            tree: { ...choices.tree, focusGroup: choices.tree.focusGroup === group ? null : group },
            zoom: [],
          });
          this.options.close();
        },
      );
      entry.append(swatch, group || '(unknown)', h('span', { class: 'sp-share' }, ` ${format.share(self, whole)}`));
      return entry;
    });
    this.legend.replaceChildren(h('span', { class: 'sp-hint' }, 'Modules by self time'), ...entries);
  }

  /** Processes and roles, where there are several: each stands for all its threads. */
  private processOptions(): HTMLElement[] {
    const { processes } = this.state;
    this.processes = processes.length > 1 ? [...roleChoices(processes), ...processes] : [];
    if (this.processes.length === 0) return [];
    const options = this.processes.map(({ label, depth, weight }, at) =>
      h('option', { value: PROCESS + at }, `${'\u2003'.repeat(depth)}${label} · ${format.duration(weight)}`),
    );
    return [h('optgroup', { label: 'Processes' }, ...options)];
  }

  private fillChoices(): void {
    const { data, threadTimes: times } = this.state;
    this.filledFor = data;
    const rows = Array.from(rowsOf<ThreadRow>(times.length)).sort((a, b) => times[b].weight - times[a].weight);
    this.threads.replaceChildren(
      h('option', { value: 'all' }, rows.length === 1 ? '1 thread' : `All ${rows.length} threads`),
      ...(rows.length > 1
        ? [
            h('option', { value: 'each' }, 'Each thread apart'),
            ...this.processOptions(),
            ...rows.map((row) =>
              h('option', { value: row }, `${threadLabel(this.state, row)} · ${format.duration(times[row].weight)}`),
            ),
          ]
        : []),
    );
    this.threads.hidden = rows.length < 2;
    this.running.hidden = !times.some(({ waited }) => waited > 0);
    const modes: ColorMode[] = [
      'module',
      'kind',
      'self',
      ...(this.state.waits ? (['waits'] as const) : []),
      ...(data.sampleBaseline ? (['diff'] as const) : []),
    ];
    this.colors.replaceChildren(...modes.map((mode) => h('option', { value: mode }, COLOR_TITLES[mode])));
  }

  /** One chip for each filter in force; a click takes it off. */
  filters(): HTMLElement[] {
    const { names, choices } = this.state;
    const { focusFunction, focusGroup, hideFunctions, hideGroups, range, doing, region } = choices.tree;
    const chip = (text: string, clear: () => void): HTMLElement =>
      button(`${text} ✕`, { class: 'sp-chip', 'aria-label': `Remove filter: ${text}` }, clear);
    const chips: HTMLElement[] = [];
    if (range !== null) {
      chips.push(
        chip(`${format.duration(Math.round(range[0]))} – ${format.duration(Math.round(range[1]))}`, () =>
          this.state.updateTree({ range: null }),
        ),
      );
    }
    if (doing !== null) chips.push(chip(`only ${DOINGS[doing]}`, () => this.state.updateTree({ doing: null })));
    if (region !== null) chips.push(chip(`in ${region}`, () => this.state.updateTree({ region: null })));
    if (focusFunction !== null)
      chips.push(chip(`only ${names.title(focusFunction)}`, () => this.state.updateTree({ focusFunction: null })));
    if (focusGroup !== null) chips.push(chip(`only ${focusGroup}`, () => this.state.updateTree({ focusGroup: null })));
    for (const func of hideFunctions) {
      chips.push(
        chip(`without ${names.title(func)}`, () =>
          this.state.updateTree({
            hideFunctions: new Set([...choices.tree.hideFunctions].filter((other) => other !== func)),
          }),
        ),
      );
    }
    for (const group of hideGroups) {
      chips.push(
        chip(`without ${group}`, () =>
          this.state.updateTree({
            hideGroups: new Set([...choices.tree.hideGroups].filter((other) => other !== group)),
          }),
        ),
      );
    }
    return chips;
  }

  focusSearch(): void {
    this.search.focus();
    this.search.select();
  }

  /** True when there was one to close. */
  closePanels(): boolean {
    const open = [this.options, this.exports, this.keys].filter((menu) => menu.open);
    for (const menu of open) menu.close();
    return open.length > 0;
  }

  showKeys(): void {
    this.keys.show();
  }

  /** Runs the choice of a key; false where the key means none. */
  onKey(key: string): boolean {
    if (key === 'i') this.inverted.click();
    else if (key === 'r') this.recursion.click();
    else if (key === 'l' && !this.onlyOwn.hidden) this.onlyOwn.click();
    else if (key === 'a' && !this.allFrames.hidden) this.allFrames.click();
    else return false;
    return true;
  }
}
