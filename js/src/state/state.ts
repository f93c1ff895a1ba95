// Owns what is shown: one profile, the choices made about it, and everything that follows from both. What follows
// is declared, not invalidated: each of it is worked out when first asked for, and anew once something that it
// was worked out from is another. Knows nothing of elements.
import { batch, computed, effect, signal, untracked } from '@preact/signals-core';
import { doingPainter } from '../profile/cause-colors';
import { type Doings, doingsOf, hasWaits, timeByDoing } from '../profile/causes';
import { functionPainter, makePainter, type Painter } from '../profile/colors';
import { type Evidence, evidenceOf, withinNoise } from '../profile/confidence';
import { decode, type Profile } from '../profile/container';
import { asDifference } from '../profile/difference';
import { type Folded, fold } from '../profile/folding';
import { severalProcesses } from '../profile/labels';
import { type Layout, layOut } from '../profile/layout';
import { Names } from '../profile/names';
import { onlyOwn } from '../profile/own-code';
import { type Process, processTree } from '../profile/processes';
import { buildRegionLane, type RegionLane } from '../profile/region-lanes';
import { type RegionChoice, regionChoices } from '../profile/regions';
import type { FuncRow, ThreadRow } from '../profile/rows';
import { sandwich } from '../profile/sandwich';
import {
  coverage,
  type Found,
  type Marks,
  matchedNodes,
  matchFunctions,
  parseQuery,
  type Query,
} from '../profile/search';
import { type LineTime, lineTimes } from '../profile/source';
import { type FunctionRow, functionTable } from '../profile/table';
import { type ThreadTimes, threadTimes } from '../profile/threads';
import { buildLane, type Lane } from '../profile/timeline';
import {
  buildTree,
  type CallTree,
  invertTree,
  isFunction,
  nodeAt,
  pathOf,
  type TreeOptions,
  threadOf,
} from '../profile/tree';
import { AT_FIRST, type Choices, carriedOver, type Named } from './choices';

export type ContainerBytes = ArrayBuffer | ArrayBufferView<ArrayBuffer>;

interface Loaded extends Named {
  readonly forms: Folded;
  /** The bytes of the profile as they came. */
  readonly container: ContainerBytes;
}

export interface Aggregate {
  readonly tree: CallTree;
  readonly layout: Layout;
}

export interface Halves {
  readonly callers: Layout;
  readonly callees: Layout;
}

/** Light or dark; another object where the host's colours changed without changing that. */
export interface Look {
  readonly dark: boolean;
}

/** Runs a step now, and again whenever what it read has changed; the result ends that. */
export function keep(step: () => void): () => void {
  return effect(step);
}

/** Passes on a value whenever it is another one than before, but not the one it has now. */
export function onChange<T>(read: () => T, tell: (value: T) => void): () => void {
  const value = computed(read);
  let told = value.peek();
  return effect(() => {
    const now = value.value;
    if (Object.is(now, told)) return;
    told = now;
    untracked(() => tell(now));
  });
}

export class State {
  private readonly loaded = signal<Loaded | null>(null);
  private readonly chosen = signal<Choices>(AT_FIRST);
  private readonly look = signal<Look>({ dark: false });

  // A choice of its own each, so that what follows from one does not follow from the others.
  private readonly options = computed(() => this.chosen.value.tree);
  private readonly allFrames = computed(() => this.chosen.value.allFrames);
  private readonly ownCode = computed(() => this.chosen.value.onlyOwn);
  private readonly withLibraries = computed(() => {
    const { forms } = this.present;
    return this.allFrames.value ? forms.all : forms.folded;
  });
  private readonly withoutLibraries = computed(() => onlyOwn(this.withLibraries.value));
  private readonly inverted = computed(() => this.chosen.value.inverted);
  private readonly colors = computed(() => this.chosen.value.colors);
  private readonly search = computed(() => this.chosen.value.search);
  private readonly pattern = computed(() => this.chosen.value.pattern);
  private readonly asked = computed(() => parseQuery({ search: this.search.value, pattern: this.pattern.value }));
  private readonly selectedFunction = computed(() => this.chosen.value.selection?.func ?? null);
  private readonly selectedThreads = computed(() => this.options.value.threads);

  private readonly forward = computed(() => buildTree(this.data, this.names, this.options.value));
  private readonly shown = computed((): Aggregate => {
    const tree = this.inverted.value ? invertTree(this.tree) : this.tree;
    return { tree, layout: layOut(tree) };
  });
  private readonly rows = computed(() => {
    // Folding recursion takes time from what lies between two calls; the table must not lose it.
    const options = this.options.value;
    const whole = options.collapseRecursion
      ? buildTree(this.data, this.names, { ...options, collapseRecursion: false })
      : this.tree;
    return functionTable(whole, this.functions);
  });
  private readonly searched = computed(() => {
    const query = this.asked.value;
    // What cannot be understood greys nothing.
    return query && !query.problem ? matchFunctions(this.names, this.functions, query) : null;
  });
  private readonly hits = computed(() => (this.matches ? matchedNodes(this.aggregate.tree, this.matches) : []));
  private readonly found = computed(() => (this.matches ? coverage(this.tree, this.matches) : null));
  private readonly byModule = computed(() => {
    const groups = new Map<string, { group: string; func: FuncRow; self: number; most: number }>();
    for (const { func, self } of this.table) {
      const { group } = this.names.place(func);
      const entry = groups.get(group) ?? { group, func, self: 0, most: -1 };
      entry.self += self;
      if (self > entry.most) Object.assign(entry, { func, most: self });
      groups.set(group, entry);
    }
    return Array.from(groups.values()).sort((a, b) => b.self - a.self);
  });
  // Without a selection, what burns most is what one asks about first.
  private readonly inTheMiddle = computed(() => this.selectedFunction.value ?? this.busiest());
  private readonly inSource = computed(
    () => this.selectedFunction.value ?? this.busiest((func) => !this.names.native(func)),
  );
  private readonly around = computed((): Halves | null => {
    const func = this.inTheMiddle.value;
    if (func === null) return null;
    const { callers, callees } = sandwich(this.tree, this.functions, func);
    return { callers: layOut(callers), callees: layOut(callees) };
  });
  private readonly sourceFile = computed(() =>
    this.inSource.value === null ? null : this.data.funcFile[this.inSource.value],
  );
  private readonly sourceTimes = computed(() =>
    this.sourceFile.value === null
      ? new Map<number, LineTime>()
      : lineTimes(this.data, this.sourceFile.value, this.options.value),
  );
  private readonly inTime = computed(() => {
    const threads = this.selectedThreads.value;
    const rows = severalProcesses(this.data.threads)
      ? this.processes.flatMap(({ threads }) => threads)
      : this.data.threads.map((_, row) => row as ThreadRow);
    return rows
      .filter((row) => threads === null || threads.has(row))
      .map((row) => buildLane(this.data, row))
      .filter(({ rows }) => rows > 0);
  });
  private readonly regionsInTime = computed(() => {
    const lanes = this.inTime.value.map(({ thread }) => [thread, buildRegionLane(this.data, thread)] as const);
    return new Map(lanes.flatMap(([thread, lane]) => (lane ? [[thread, lane] as const] : [])));
  });
  private readonly inRegions = computed(() => regionChoices(this.whole));
  private readonly waitsSomewhere = computed(() => hasWaits(this.whole));
  private readonly byDoing = computed(() => timeByDoing(this.data, this.options.value));
  private readonly whatNodesDo = computed(() => {
    const [data, options] = [this.data, this.options.value];
    const made = new WeakMap<CallTree, Doings>();
    return (tree: CallTree): Doings => {
      const doings = made.get(tree) ?? doingsOf(data, tree, options);
      made.set(tree, doings);
      return doings;
    };
  });
  private readonly samplesTell = computed(() => evidenceOf(this.data));
  private readonly unchanged = computed(() => (this.data.sampleBaseline ? withinNoise(this.data) : null));
  private readonly perThread = computed(() => threadTimes(this.data));
  private readonly madeProcesses = computed(() => processTree(this.data, this.perThread.value));
  private readonly functionColors = computed(() =>
    functionPainter(this.colors.value === 'kind' ? 'kind' : 'module', this.dark, this.data, this.names),
  );
  private readonly painters = computed(() => {
    const { data, names, dark } = this;
    const mode = this.colors.value;
    const made = new WeakMap<CallTree, Painter>();
    return (tree: CallTree): Painter => {
      const painter =
        made.get(tree) ??
        (mode === 'waits' ? doingPainter(dark, tree, this.doings(tree)) : makePainter(mode, dark, data, names, tree));
      made.set(tree, painter);
      return painter;
    };
  });

  /** Takes a new profile; choices about functions follow them by name. Throws where it is damaged. */
  setData(container: ContainerBytes): void {
    const profile = asDifference(decode(container));
    const forms = fold(profile);
    const next = { profile: forms.all, forms, names: new Names(forms.all), container };
    const before = this.loaded.peek();
    const choices = this.chosen.peek();
    batch(() => {
      if (before) this.chosen.value = carriedOver(choices, before, next);
      else if (profile.sampleBaseline) this.chosen.value = { ...choices, colors: 'diff' };
      this.loaded.value = next;
    });
  }

  setLook(look: Look): void {
    this.look.value = look;
  }

  update(patch: Partial<Choices>): void {
    this.chosen.value = { ...this.chosen.peek(), ...patch };
  }

  updateTree(patch: Partial<TreeOptions>): void {
    this.update({ tree: { ...this.chosen.peek().tree, ...patch } });
  }

  get choices(): Choices {
    return this.chosen.value;
  }

  get dark(): boolean {
    return this.look.value.dark;
  }

  get profile(): Profile | null {
    return this.loaded.value?.profile ?? null;
  }

  private get present(): Loaded {
    if (!this.loaded.value) throw new Error('no profile yet');
    return this.loaded.value;
  }

  /** The profile as it is shown: folded, unless all frames are wanted. */
  get data(): Profile {
    return this.ownCode.value ? this.withoutLibraries.value : this.withLibraries.value;
  }

  /** Whether there are libraries that can be left out. */
  get hasLibraries(): boolean {
    return this.withoutLibraries.value !== this.withLibraries.value;
  }

  /** The profile with all its frames. */
  get whole(): Profile {
    return this.present.forms.whole;
  }

  /** Whether there is something that is shown only when all frames are wanted. */
  get folds(): boolean {
    const { all, folded } = this.present.forms;
    return all !== folded;
  }

  get names(): Names {
    return this.present.names;
  }

  get container(): ContainerBytes {
    return this.present.container;
  }

  get functions(): number {
    return this.data.funcName.length;
  }

  /** The call tree from the roots, filters applied. */
  get tree(): CallTree {
    return this.forward.value;
  }

  /** What the flame and icicle views show. */
  get aggregate(): Aggregate {
    return this.shown.value;
  }

  get table(): readonly FunctionRow[] {
    return this.rows.value;
  }

  /** Self time of each module group, largest first, with a function that has its colour. */
  get groups(): readonly { group: string; func: FuncRow; self: number }[] {
    return this.byModule.value;
  }

  get query(): Query | null {
    return this.asked.value;
  }

  get matches(): Marks | null {
    return this.searched.value;
  }

  /** Nodes of the shown tree that match, in the order in which a reader goes through them. */
  get matchedNodes(): readonly number[] {
    return this.hits.value;
  }

  get coverage(): Found | null {
    return this.found.value;
  }

  /** Callers and callees of the selected function, or of the one that burns most. */
  get halves(): Halves | null {
    return this.around.value;
  }

  /** The function whose file the source view shows, and the time of the file's lines. */
  get source(): { func: FuncRow | null; times: ReadonlyMap<number, LineTime> } {
    return { func: this.inSource.value, times: this.sourceTimes.value };
  }

  /** One lane a thread that has times. */
  get lanes(): readonly Lane[] {
    return this.inTime.value;
  }

  /** The regions of those threads that have some. */
  get regionLanes(): ReadonlyMap<ThreadRow, RegionLane> {
    return this.regionsInTime.value;
  }

  /** Regions that one may choose, none where the profile has none. */
  get regions(): readonly RegionChoice[] {
    return this.inRegions.value;
  }

  /** Whether some of the profile's time is waiting. */
  get waits(): boolean {
    return this.waitsSomewhere.value;
  }

  /** What the time was that the other filters take, in ns; see causes.ts. */
  get timeByDoing(): readonly number[] {
    return this.byDoing.value;
  }

  /** What the time of a tree's nodes was. */
  doings(tree: CallTree): Doings {
    return this.whatNodesDo.value(tree);
  }

  /** How many independent samples tell of a function. */
  get evidence(): Evidence {
    return this.samplesTell.value;
  }

  /** Functions of a difference whose share changed by no more than noise; null where it is none. */
  get quiet(): Marks | null {
    return this.unchanged.value;
  }

  /** What each thread's time adds up to, by its row. */
  get threadTimes(): readonly ThreadTimes[] {
    return this.perThread.value;
  }

  /** The processes that the profile has samples of, each before those that it made. */
  get processes(): readonly Process[] {
    return this.madeProcesses.value;
  }

  /** Colours by what a function is, whatever it used. */
  get functionPainter(): Painter<FuncRow> {
    return this.functionColors.value;
  }

  painter(tree: CallTree): Painter {
    return this.painters.value(tree);
  }

  /** The function with the most time of its own among those that count; null where there is none. */
  private busiest(counts: (func: FuncRow) => boolean = () => true): FuncRow | null {
    let best: FunctionRow | null = null;
    for (const row of this.table) if (counts(row.func) && (best === null || row.self > best.self)) best = row;
    return best?.func ?? null;
  }

  /** The stack a node of the shown tree stands for, root first. */
  stackOf(node: number): FuncRow[] {
    const path = pathOf(this.aggregate.tree, node);
    if (this.choices.inverted) path.reverse();
    return path.filter(isFunction);
  }

  /** The node of the shown tree that the selection means, or -1. */
  selectedNode(): number {
    const { selection, inverted } = this.choices;
    if (!selection) return -1;
    const { tree } = this.aggregate;
    if (selection.stack.length > 0) {
      const path = inverted ? selection.stack.slice().reverse() : selection.stack;
      const tops = threadTops(tree);
      for (const prefix of tops.length > 0 ? tops.map((key) => [key]) : [[]]) {
        const { node, found } = nodeAt(tree, [...prefix, ...path]);
        if (found) return node;
      }
    }
    let widest = -1;
    for (let node = 1; node < tree.length; node++) {
      if (tree.key[node] === selection.func && (widest < 0 || tree.extent[node] > tree.extent[widest])) widest = node;
    }
    return widest;
  }

  zoomedNode(): number {
    return nodeAt(this.aggregate.tree, this.choices.zoom).node;
  }
}

function threadTops(tree: CallTree): number[] {
  const tops: number[] = [];
  for (let i = tree.childStart[0]; i < tree.childStart[1]; i++) {
    const key = tree.key[tree.childList[i]];
    if (threadOf(key) !== null) tops.push(key);
  }
  return tops;
}
