// Owns the view from one function: everything that calls it, everything it calls.
import type { FuncRow } from './rows';
import { walkPaths } from './table';
import { type CallTree, calleesOf, callersOf } from './tree';

export interface Sandwich {
  /** First level: the function; below it its callers, up to the roots. */
  readonly callers: CallTree;
  /** First level: the function; below it what it calls. */
  readonly callees: CallTree;
}

/** Both trees count outermost calls only, so that each totals what the table says of the function. */
export function sandwich(tree: CallTree, functions: number, func: FuncRow): Sandwich {
  const nodes: number[] = [];
  walkPaths(tree, functions, (node, on, outermost) => {
    if (outermost && on === func) nodes.push(node);
  });
  const { baseline } = tree;
  return {
    callers: callersOf(tree, {
      node: Int32Array.from(nodes),
      weight: Float64Array.from(nodes, (node) => tree.total[node]),
      count: Float64Array.from(nodes, (node) => tree.totalCount[node]),
      baseline: baseline ? Float64Array.from(nodes, (node) => baseline[node]) : null,
    }),
    callees: calleesOf(tree, nodes),
  };
}
