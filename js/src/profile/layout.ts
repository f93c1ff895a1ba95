// Owns where every node of a call tree lies on the weight axis, and which nodes a window of it shows.
// Knows nothing of canvases.
import type { CallTree } from './tree';

/** Start of each node in ns from the left; its width is `tree.extent`. Children stand largest first. */
export interface Layout {
  readonly tree: CallTree;
  readonly start: Float64Array;
  readonly width: number;
}

export function layOut(tree: CallTree): Layout {
  const start = new Float64Array(tree.length);
  for (let node = 0; node < tree.length; node++) {
    let at = start[node];
    for (let i = tree.childStart[node]; i < tree.childStart[node + 1]; i++) {
      const child = tree.childList[i];
      start[child] = at;
      at += tree.extent[child];
    }
  }
  return { tree, start, width: tree.extent[0] };
}

/** The depth of the deepest node below each, or its own. */
export function deepest(tree: CallTree): Int32Array {
  const depths = Int32Array.from(tree.depth);
  // A parent comes before its children.
  for (let node = tree.length - 1; node > 0; node--) {
    const parent = tree.parent[node];
    if (depths[node] > depths[parent]) depths[parent] = depths[node];
  }
  return depths;
}

/** A part of the weight axis and of the depths. */
export interface Window {
  from: number;
  to: number;
  minDepth: number;
  maxDepth: number;
  /** Narrower nodes are not shown one by one, in ns. */
  minWidth: number;
}

/** Position in childList of the first child of `node` that ends after `x`. */
function firstChildAfter(layout: Layout, node: number, x: number): number {
  const { tree, start } = layout;
  let low = tree.childStart[node];
  let high = tree.childStart[node + 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    const child = tree.childList[middle];
    if (start[child] + tree.extent[child] > x) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * Calls `show` for each node the window shows, parents first, and `rest` for each run of siblings too narrow
 * to be told apart. Siblings are sorted by width, so the cost is that of what is shown, not of the tree.
 */
export function visit(
  layout: Layout,
  window: Window,
  show: (node: number) => void,
  rest: (from: number, to: number, depth: number) => void,
): void {
  const { tree, start } = layout;
  const pending = [0];
  while (pending.length > 0) {
    const node = pending.pop() as number;
    const depth = tree.depth[node];
    if (depth >= window.minDepth) show(node);
    if (depth >= window.maxDepth) continue;
    const end = tree.childStart[node + 1];
    const first = pending.length;
    for (let i = firstChildAfter(layout, node, window.from); i < end; i++) {
      const child = tree.childList[i];
      if (start[child] >= window.to) break;
      if (tree.extent[child] < window.minWidth) {
        const last = tree.childList[end - 1];
        if (depth + 1 >= window.minDepth)
          rest(start[child], Math.min(window.to, start[last] + tree.extent[last]), depth + 1);
        break;
      }
      pending.push(child);
    }
    // The leftmost child comes off the pile first: preorder, as a reader of the tree expects.
    for (let low = first, high = pending.length - 1; low < high; low++, high--) {
      [pending[low], pending[high]] = [pending[high], pending[low]];
    }
  }
}

/** The node at a point of the axis and a depth, or -1. */
export function nodeAtPoint(layout: Layout, x: number, depth: number): number {
  const { tree, start } = layout;
  if (x < 0 || x >= layout.width || depth < 0) return -1;
  let node = 0;
  while (tree.depth[node] < depth) {
    const at = firstChildAfter(layout, node, x);
    if (at >= tree.childStart[node + 1]) return -1;
    const child = tree.childList[at];
    if (start[child] > x) return -1;
    node = child;
  }
  return node;
}

export type Direction = 'caller' | 'callee' | 'previous' | 'next';

/** The neighbour a keyboard reader goes to, or the node itself where there is none. */
export function neighbour(layout: Layout, node: number, direction: Direction): number {
  const { tree, start } = layout;
  if (direction === 'caller') return Math.max(0, tree.parent[node]);
  if (direction === 'callee') {
    return tree.childStart[node] < tree.childStart[node + 1] ? tree.childList[tree.childStart[node]] : node;
  }
  // Sideways on the same depth, across parents: the nearest node that lies there.
  const depth = tree.depth[node];
  let best = node;
  let distance = Infinity;
  for (let other = 1; other < tree.length; other++) {
    if (tree.depth[other] !== depth || other === node || tree.extent[other] <= 0) continue;
    const gap =
      direction === 'next'
        ? start[other] - (start[node] + tree.extent[node])
        : start[node] - (start[other] + tree.extent[other]);
    // Sums of doubles: neighbours may seem to overlap by less than a nanosecond.
    if (gap > -0.5 && gap < distance) {
      distance = gap;
      best = other;
    }
  }
  return best;
}
