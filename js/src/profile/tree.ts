// Owns the call tree: sample columns aggregated by call path, with filters, split threads and inversion.
// Typed arrays throughout. Knows nothing of pixels.
import type { Profile } from './container';
import type { Names } from './names';
import { NodeTable } from './node-table';
import type { Column, FuncRow, StackRow, ThreadRow, Writable } from './rows';
import { type SampleFilter, type StackSums, sumByStack } from './sums';

/**
 * Nodes are rows; a parent comes before its children; row 0 is the whole profile.
 * Times are nanoseconds.
 */
export interface CallTree {
  readonly length: number;
  readonly parent: Int32Array;
  /** Function row; `THREAD - row of threads` for a thread's node; -1 for row 0. */
  readonly key: Int32Array;
  readonly depth: Int32Array;
  readonly self: Float64Array;
  readonly total: Float64Array;
  readonly selfCount: Float64Array;
  readonly totalCount: Float64Array;
  /** Total before, where the profile is a difference. */
  readonly baseline: Float64Array | null;
  /** Children of node n: childList[childStart[n]] .. childList[childStart[n + 1] - 1], largest first. */
  readonly childStart: Int32Array;
  readonly childList: Int32Array;
  readonly maxDepth: number;
  /** What the width of node 0 stands for; more than total[0] where a difference shows what is gone. */
  readonly extent: Float64Array;
  /** Which rows of `stack` a node is made of; absent in derived trees. */
  readonly origins: Origins | null;
}

/** A linked list of stacks a node: head[node] -> entry -> next[entry], -1 ends it. */
export interface Origins {
  readonly head: Int32Array;
  readonly next: Int32Array;
  readonly stack: Column<number, StackRow>;
  readonly weight: Float64Array;
}

export const THREAD = -2;

/** Whether a node's key is a function, and no thread or the whole. */
export function isFunction(key: number): key is FuncRow {
  return key >= 0;
}

/** The function of a node; null for a thread's node and for the whole. */
export function functionOf(tree: CallTree, node: number): FuncRow | null {
  const key = tree.key[node];
  return isFunction(key) ? key : null;
}

/** The thread that a node's key stands for, or null. */
export function threadOf(key: number): ThreadRow | null {
  return key <= THREAD ? ((THREAD - key) as ThreadRow) : null;
}

export interface TreeOptions extends SampleFilter {
  /** One subtree a thread rather than all threads in one. */
  split: boolean;
  /** Frames of these functions are left out, their time goes to their caller. */
  hideFunctions: ReadonlySet<FuncRow>;
  hideGroups: ReadonlySet<string>;
  /** Only stacks through this function, from it on. */
  focusFunction: FuncRow | null;
  /** Only stacks through this module group, from its first frame on. */
  focusGroup: string | null;
  /** A call to a function that is already on the stack goes on in that frame. */
  collapseRecursion: boolean;
}

export const WHOLE: TreeOptions = {
  threads: null,
  split: false,
  hideFunctions: new Set(),
  hideGroups: new Set(),
  focusFunction: null,
  focusGroup: null,
  collapseRecursion: false,
  runningOnly: false,
  doing: null,
  region: null,
  range: null,
};

const KEEP = 0;
const HIDE = 1;

/** Builds the aggregated call tree of a profile. */
export function buildTree(profile: Profile, names: Names, options: TreeOptions = WHOLE): CallTree {
  const { stackParent, stackFrame, frameFunc, funcName } = profile;
  const functions = funcName.length;
  const treatment: Writable<FuncRow, number> = new Uint8Array(functions).fill(KEEP);
  for (const func of options.hideFunctions) treatment[func] = HIDE;
  const inFocus: Writable<FuncRow, number> | null =
    options.focusFunction !== null || options.focusGroup !== null ? new Uint8Array(functions) : null;
  if (inFocus && options.focusFunction !== null) inFocus[options.focusFunction] = 1;
  if (options.hideGroups.size > 0 || options.focusGroup !== null) {
    for (let func = 0 as FuncRow; func < functions; func++) {
      const { group } = names.place(func);
      if (options.hideGroups.has(group)) treatment[func] = HIDE;
      if (inFocus && group === options.focusGroup) inFocus[func] = 1;
    }
  }

  const table = new NodeTable();
  const nodeOfStack = new Int32Array(stackParent.length);
  const nodes: Writable<StackRow, number> = nodeOfStack;
  const passes: (ThreadRow | null)[] = options.split
    ? profile.threads
        .map((_, row) => row as ThreadRow)
        .filter((row) => options.threads === null || options.threads.has(row))
    : [null];
  const shares: { sums: StackSums; nodes: Column<StackRow, number> }[] = [];
  for (const thread of passes) {
    const sums = sumByStack(profile, options, thread);
    if (thread !== null && !sums.any) continue;
    const top = thread === null ? 0 : table.child(0, THREAD - thread);
    // -1: not there. With a focus, a stack is there once the focus lies on its path.
    const outside = inFocus ? -1 : top;
    for (let stack = 0 as StackRow; stack < stackParent.length; stack++) {
      if (!sums.used[stack]) {
        nodes[stack] = -1;
        continue;
      }
      const parent = stackParent[stack];
      let above = parent < 0 ? outside : nodes[parent];
      const func = frameFunc[stackFrame[stack]];
      if (above < 0 && inFocus?.[func]) above = top;
      if (above < 0 || treatment[func] === HIDE) {
        nodes[stack] = above;
        continue;
      }
      let node = -1;
      if (options.collapseRecursion) {
        for (let up = above; up > 0; up = table.parent[up]) {
          if (table.key[up] === func) {
            node = up;
            break;
          }
        }
      }
      nodes[stack] = node >= 0 ? node : table.child(above, func);
    }
    shares.push({ sums, nodes: options.split ? nodeOfStack.slice() : nodes });
  }

  const length = table.length;
  const self = new Float64Array(length);
  const selfCount = new Float64Array(length);
  const selfBaseline = profile.sampleBaseline ? new Float64Array(length) : null;
  let entries = 0;
  for (const { nodes } of shares) {
    for (let stack = 0 as StackRow; stack < nodes.length; stack++) if (nodes[stack] > 0) entries++;
  }
  const originStack = new Int32Array(entries) as unknown as Writable<number, StackRow>;
  const origins: Origins = {
    head: new Int32Array(length).fill(-1),
    next: new Int32Array(entries),
    stack: originStack,
    weight: new Float64Array(entries),
  };
  let entry = 0;
  for (const { sums, nodes } of shares) {
    for (let stack = 0 as StackRow; stack < nodes.length; stack++) {
      const node = nodes[stack];
      if (node < 0) continue;
      self[node] += sums.weight[stack];
      selfCount[node] += sums.count[stack];
      if (selfBaseline && sums.baseline) selfBaseline[node] += sums.baseline[stack];
      if (node === 0) continue;
      // A hidden frame's stack maps to its caller's node but is no line of the caller.
      if (frameFunc[stackFrame[stack]] !== table.key[node]) continue;
      originStack[entry] = stack;
      origins.weight[entry] = sums.subtree[stack];
      origins.next[entry] = origins.head[node];
      origins.head[node] = entry++;
    }
  }
  return finish(table, self, selfCount, selfBaseline, origins);
}

function finish(
  table: NodeTable,
  self: Float64Array,
  selfCount: Float64Array,
  selfBaseline: Float64Array | null,
  origins: Origins | null,
): CallTree {
  const length = table.length;
  const parent = table.parent.subarray(0, length);
  const key = table.key.subarray(0, length);
  const depth = table.depth.subarray(0, length);
  const total = self.slice();
  const totalCount = selfCount.slice();
  const baseline = selfBaseline ? selfBaseline.slice() : null;
  // What a node shows of itself: in a difference also what it has lost, or lost code would have no width.
  const extent = self.slice();
  if (selfBaseline) for (let node = 0; node < length; node++) extent[node] = Math.max(self[node], selfBaseline[node]);
  const childStart = new Int32Array(length + 1);
  let maxDepth = 0;
  for (let node = length - 1; node > 0; node--) {
    const up = parent[node];
    total[up] += total[node];
    totalCount[up] += totalCount[node];
    extent[up] += extent[node];
    if (baseline) baseline[up] += baseline[node];
    childStart[up + 1]++;
    if (depth[node] > maxDepth) maxDepth = depth[node];
  }
  for (let node = 0; node < length; node++) childStart[node + 1] += childStart[node];
  const fill = childStart.slice();
  const childList = new Int32Array(Math.max(0, length - 1));
  for (let node = 1; node < length; node++) childList[fill[parent[node]]++] = node;
  for (let node = 0; node < length; node++) {
    const from = childStart[node];
    const to = childStart[node + 1];
    if (to - from > 1) childList.subarray(from, to).sort((a, b) => extent[b] - extent[a] || a - b);
  }
  return {
    length,
    parent,
    key,
    depth,
    self,
    total,
    selfCount,
    totalCount,
    baseline,
    childStart,
    childList,
    maxDepth,
    extent,
    origins,
  };
}

// Below this share of the whole, a chain of callers is not followed: it could not be seen, and chains of
// everything would take (stacks x depth) nodes.
const INVERTED_FLOOR = 1 / 20000;

/** A chain to follow upwards: from which node, standing for how much. */
export interface Seeds {
  node: Int32Array;
  weight: Float64Array;
  count: Float64Array;
  baseline: Float64Array | null;
}

/** The tree read from the leaves: first level the functions that burn time themselves, below them who called. */
export function invertTree(tree: CallTree): CallTree {
  let selfBaseline: Float64Array | null = null;
  if (tree.baseline) {
    selfBaseline = tree.baseline.slice();
    for (let node = 1; node < tree.length; node++) selfBaseline[tree.parent[node]] -= tree.baseline[node];
  }
  const nodes: number[] = [];
  for (let node = 1; node < tree.length; node++) {
    // In a difference, what is gone has no time of its own left but had some.
    if (tree.selfCount[node] > 0 || tree.self[node] > 0 || (selfBaseline && selfBaseline[node] > 0)) nodes.push(node);
  }
  const own = selfBaseline;
  return callersOf(tree, {
    node: Int32Array.from(nodes),
    weight: Float64Array.from(nodes, (node) => tree.self[node]),
    count: Float64Array.from(nodes, (node) => tree.selfCount[node]),
    baseline: own ? Float64Array.from(nodes, (node) => own[node]) : null,
  });
}

/** Follows every seed up to the root and merges the chains that agree. */
export function callersOf(tree: CallTree, seeds: Seeds): CallTree {
  const table = new NodeTable();
  const chains = seeds.node.length;
  const size = seeds.weight.slice();
  const before = seeds.baseline;
  if (before) for (let chain = 0; chain < chains; chain++) size[chain] = Math.max(size[chain], before[chain]);
  let whole = 0;
  for (const each of size) whole += each;
  const floor = whole * INVERTED_FLOOR;
  const at = seeds.node.slice();
  const group = new Int32Array(chains);
  let live = Int32Array.from({ length: chains }, (_, chain) => chain);
  let sums = new Float64Array(1024);
  const self = [0];
  const counts = [0];
  const baselines = [0];
  // Level by level, so that a level's sums are known before anybody goes further up.
  while (live.length > 0) {
    for (const chain of live) {
      const node = table.child(group[chain], tree.key[at[chain]]);
      group[chain] = node;
      if (node >= sums.length) {
        const wider = new Float64Array(sums.length * 2);
        wider.set(sums);
        sums = wider;
      }
      sums[node] += size[chain];
      while (self.length <= node) {
        self.push(0);
        counts.push(0);
        baselines.push(0);
      }
    }
    const next: number[] = [];
    for (const chain of live) {
      const up = tree.parent[at[chain]];
      const node = group[chain];
      if (up > 0 && sums[node] >= floor) {
        at[chain] = up;
        next.push(chain);
      } else {
        self[node] += seeds.weight[chain];
        counts[node] += seeds.count[chain];
        if (seeds.baseline) baselines[node] += seeds.baseline[chain];
      }
    }
    live = Int32Array.from(next);
  }
  return finish(
    table,
    Float64Array.from(self),
    Float64Array.from(counts),
    seeds.baseline ? Float64Array.from(baselines) : null,
    null,
  );
}

/** What the given nodes call, merged into one tree with the nodes' own function as its only child of the root. */
export function calleesOf(tree: CallTree, nodes: ArrayLike<number>): CallTree {
  const table = new NodeTable();
  const self: number[] = [0];
  const counts: number[] = [0];
  const baselines: number[] = [0];
  const pending: number[] = [];
  for (let i = 0; i < nodes.length; i++) pending.push(nodes[i], 0);
  while (pending.length > 0) {
    const above = pending.pop() as number;
    const node = pending.pop() as number;
    const copy = table.child(above, tree.key[node]);
    if (copy === self.length) {
      self.push(0);
      counts.push(0);
      baselines.push(0);
    }
    self[copy] += tree.self[node];
    counts[copy] += tree.selfCount[node];
    let inner = 0;
    for (let i = tree.childStart[node]; i < tree.childStart[node + 1]; i++) {
      const child = tree.childList[i];
      pending.push(child, copy);
      if (tree.baseline) inner += tree.baseline[child];
    }
    if (tree.baseline) baselines[copy] += tree.baseline[node] - inner;
  }
  return finish(
    table,
    Float64Array.from(self),
    Float64Array.from(counts),
    tree.baseline ? Float64Array.from(baselines) : null,
    null,
  );
}

/** The keys from below the root down to the node. */
export function pathOf(tree: CallTree, node: number): number[] {
  const path: number[] = [];
  for (let at = node; at > 0; at = tree.parent[at]) path.push(tree.key[at]);
  return path.reverse();
}

/** The node a path of keys leads to, or the last one on the way that still is there. */
export function nodeAt(tree: CallTree, path: readonly number[]): { node: number; found: boolean } {
  let node = 0;
  for (const key of path) {
    let next = -1;
    for (let i = tree.childStart[node]; i < tree.childStart[node + 1]; i++) {
      if (tree.key[tree.childList[i]] === key) next = tree.childList[i];
    }
    if (next < 0) return { node, found: false };
    node = next;
  }
  return { node, found: true };
}

/** Time by executed line within one node, largest first. */
export function hotLines(profile: Profile, tree: CallTree, node: number): { line: number; weight: number }[] {
  const { origins } = tree;
  if (!origins) return [];
  const byLine = new Map<number, number>();
  for (let entry = origins.head[node]; entry >= 0; entry = origins.next[entry]) {
    const line = profile.frameLine[profile.stackFrame[origins.stack[entry]]];
    byLine.set(line, (byLine.get(line) ?? 0) + origins.weight[entry]);
  }
  return Array.from(byLine, ([line, weight]) => ({ line, weight })).sort(
    (a, b) => b.weight - a.weight || a.line - b.line,
  );
}
