// Owns what is shown: one profile, the choices made about it, and everything derived from both, worked out
// once and when first asked for. Knows nothing of elements.
import { type ColorMode, makePainter, type Painter } from '../profile/colors';
import { decode, type Profile } from '../profile/container';
import { asDifference } from '../profile/difference';
import { type Layout, layOut } from '../profile/layout';
import { Names } from '../profile/names';
import type { FuncRow } from '../profile/rows';
import { coverage, type Found, type Marks, matchFunctions, parseQuery, type Query } from '../profile/search';
import { type FunctionRow, functionTable } from '../profile/table';
import {
  buildTree,
  type CallTree,
  invertTree,
  isFunction,
  nodeAt,
  pathOf,
  type TreeOptions,
  threadOf,
  WHOLE,
} from '../profile/tree';

export const VIEWS = ['icicle', 'flame', 'timeline', 'table', 'sandwich', 'source', 'speedscope'] as const;
export type ViewName = (typeof VIEWS)[number];

export interface Selection {
  readonly func: FuncRow;
  /** Functions from the root to the selected one; empty where only the function is selected. */
  readonly stack: readonly FuncRow[];
}

export interface Choices {
  readonly view: ViewName;
  readonly search: string;
  readonly inverted: boolean;
  readonly colors: ColorMode;
  readonly tree: TreeOptions;
  readonly selection: Selection | null;
  /** Keys from the root of the shown tree to the frame that fills the width. */
  readonly zoom: readonly number[];
}

export interface Aggregate {
  readonly tree: CallTree;
  readonly layout: Layout;
}

export class State {
  profile: Profile | null = null;
  /** The bytes of the profile as they came. */
  container: ArrayBuffer | ArrayBufferView<ArrayBuffer> = new ArrayBuffer(0);
  names!: Names;
  choices: Choices = {
    view: 'icicle',
    search: '',
    inverted: false,
    colors: 'module',
    tree: WHOLE,
    selection: null,
    zoom: [],
  };
  private forward: CallTree | null = null;
  private shown: Aggregate | null = null;
  private rows: FunctionRow[] | null = null;
  private search: { query: Query; matches: Marks } | null = null;
  private found: Found | null = null;
  private painters = new Map<CallTree, { key: string; painter: Painter }>();
  /** Grows whenever the tree shown is another one, so that views know whether theirs is stale. */
  treeRevision = 0;

  constructor(private readonly changed: (before: Choices, dataChanged: boolean) => void) {}

  /** Takes a new profile; choices about functions follow them by name. */
  setData(bytes: ArrayBuffer | ArrayBufferView<ArrayBuffer>): void {
    const profile = asDifference(decode(bytes));
    const names = new Names(profile);
    const before = this.choices;
    if (this.profile) this.choices = this.carriedOver(profile, names);
    else if (profile.sampleBaseline) this.choices = { ...before, colors: 'diff' };
    this.profile = profile;
    this.container = bytes;
    this.names = names;
    this.forget('data');
    this.changed(before, true);
  }

  private carriedOver(profile: Profile, names: Names): Choices {
    const rows = new Map<string, FuncRow>();
    for (let func = 0 as FuncRow; func < profile.funcName.length; func++) rows.set(names.identity(func), func);
    const old = this.names;
    const carry = (func: FuncRow): FuncRow | undefined => rows.get(old.identity(func));
    /** As far as all of them are still there. */
    const carryAll = <Key>(keys: Iterable<Key>, one: (key: Key) => Key | undefined): Key[] => {
      const result: Key[] = [];
      for (const key of keys) {
        const carried = one(key);
        if (carried === undefined) break;
        result.push(carried);
      }
      return result;
    };
    const { selection, tree, zoom } = this.choices;
    const selected = selection ? carry(selection.func) : undefined;
    const focus = tree.focusFunction === null ? null : (carry(tree.focusFunction) ?? null);
    return {
      ...this.choices,
      selection:
        selection && selected !== undefined ? { func: selected, stack: carryAll(selection.stack, carry) } : null,
      zoom: carryAll(zoom, (key: number) => (isFunction(key) ? carry(key) : key)),
      tree: {
        ...tree,
        focusFunction: focus,
        hideFunctions: new Set(
          Array.from(tree.hideFunctions, (func) => carry(func)).filter((func) => func !== undefined),
        ),
      },
    };
  }

  update(patch: Partial<Choices>): void {
    const before = this.choices;
    this.choices = { ...before, ...patch };
    if (this.choices.tree !== before.tree) this.forget('tree');
    else if (this.choices.inverted !== before.inverted) this.forget('shown');
    if (this.choices.search !== before.search) this.forget('search');
    this.changed(before, false);
  }

  updateTree(patch: Partial<TreeOptions>): void {
    this.update({ tree: { ...this.choices.tree, ...patch } });
  }

  private forget(what: 'data' | 'tree' | 'shown' | 'search'): void {
    if (what !== 'search') this.treeRevision++;
    if (what === 'data' || what === 'search') this.search = null;
    if (what !== 'shown' && what !== 'search') {
      this.forward = null;
      this.rows = null;
    }
    if (what !== 'search') {
      this.shown = null;
      this.painters.clear();
    }
    this.found = null;
  }

  get data(): Profile {
    if (!this.profile) throw new Error('no profile yet');
    return this.profile;
  }

  get functions(): number {
    return this.data.funcName.length;
  }

  /** The call tree from the roots, filters applied. */
  get tree(): CallTree {
    return (this.forward ??= buildTree(this.data, this.names, this.choices.tree));
  }

  /** What the flame and icicle views show. */
  get aggregate(): Aggregate {
    if (!this.shown) {
      const tree = this.choices.inverted ? invertTree(this.tree) : this.tree;
      this.shown = { tree, layout: layOut(tree) };
    }
    return this.shown;
  }

  get table(): FunctionRow[] {
    // Folding recursion takes time from what lies between two calls; the table must not lose it.
    const { tree } = this.choices;
    if (this.rows) return this.rows;
    const whole = tree.collapseRecursion
      ? buildTree(this.data, this.names, { ...tree, collapseRecursion: false })
      : this.tree;
    return (this.rows = functionTable(whole, this.functions));
  }

  /** The function with the most time of its own among those that are asked for; null where there is none. */
  busiest(counts: (func: FuncRow) => boolean = () => true): FuncRow | null {
    let best: FunctionRow | null = null;
    for (const row of this.table) if (counts(row.func) && (best === null || row.self > best.self)) best = row;
    return best?.func ?? null;
  }

  /** Self time of each module group, largest first, with a function that has its colour. */
  get groups(): { group: string; func: FuncRow; self: number }[] {
    const groups = new Map<string, { group: string; func: FuncRow; self: number; most: number }>();
    for (const { func, self } of this.table) {
      const { group } = this.names.place(func);
      const entry = groups.get(group) ?? { group, func, self: 0, most: -1 };
      entry.self += self;
      if (self > entry.most) Object.assign(entry, { func, most: self });
      groups.set(group, entry);
    }
    return Array.from(groups.values()).sort((a, b) => b.self - a.self);
  }

  get query(): Query | null {
    return this.searched()?.query ?? null;
  }

  get matches(): Marks | null {
    return this.searched()?.matches ?? null;
  }

  private searched(): { query: Query; matches: Marks } | null {
    if (this.search) return this.search;
    const query = parseQuery(this.choices.search);
    if (!query) return null;
    return (this.search = { query, matches: matchFunctions(this.names, this.functions, query) });
  }

  get coverage(): Found | null {
    const { matches } = this;
    return matches ? (this.found ??= coverage(this.tree, matches)) : null;
  }

  painter(tree: CallTree, dark: boolean): Painter {
    const key = `${this.choices.colors}|${dark}`;
    const known = this.painters.get(tree);
    if (known?.key === key) return known.painter;
    const painter = makePainter(this.choices.colors, dark, this.data, this.names, tree);
    this.painters.set(tree, { key, painter });
    return painter;
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
