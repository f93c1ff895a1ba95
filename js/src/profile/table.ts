// Owns the list of functions with what each used, itself and with what it called.
import type { FuncRow, Writable } from './rows';
import { type CallTree, isFunction } from './tree';

export interface FunctionRow {
  func: FuncRow;
  /** Nanoseconds in the function itself. */
  self: number;
  /** Nanoseconds with the function on the stack, once however often it is on it. */
  total: number;
  selfCount: number;
  totalCount: number;
  /** Total before, in a difference; otherwise 0. */
  baseline: number;
}

/** Visits the tree depth first, telling for each node whether its function is already on the path. */
export function walkPaths(
  tree: CallTree,
  functions: number,
  enter: (node: number, func: FuncRow, outermost: boolean) => void,
): void {
  const onPath: Writable<FuncRow, number> = new Int32Array(functions);
  const pending = [0];
  while (pending.length > 0) {
    const item = pending.pop() as number;
    if (item < 0) {
      onPath[tree.key[~item] as FuncRow]--;
      continue;
    }
    const key = tree.key[item];
    if (isFunction(key)) {
      enter(item, key, onPath[key] === 0);
      onPath[key]++;
      pending.push(~item);
    }
    for (let i = tree.childStart[item]; i < tree.childStart[item + 1]; i++) pending.push(tree.childList[i]);
  }
}

export function functionTable(tree: CallTree, functions: number): FunctionRow[] {
  const rows: (FunctionRow | undefined)[] = new Array<FunctionRow | undefined>(functions);
  walkPaths(tree, functions, (node, func, outermost) => {
    const row = (rows[func] ??= { func, self: 0, total: 0, selfCount: 0, totalCount: 0, baseline: 0 });
    row.self += tree.self[node];
    row.selfCount += tree.selfCount[node];
    if (!outermost) return;
    row.total += tree.total[node];
    row.totalCount += tree.totalCount[node];
    if (tree.baseline) row.baseline += tree.baseline[node];
  });
  return rows.filter((row): row is FunctionRow => row !== undefined);
}

export type SortKey = 'name' | 'module' | 'self' | 'total' | 'samples' | 'change';

export function sortRows(
  rows: readonly FunctionRow[],
  by: SortKey,
  descending: boolean,
  text: (func: FuncRow) => { name: string; module: string },
): FunctionRow[] {
  const sign = descending ? -1 : 1;
  const compare: Record<SortKey, (a: FunctionRow, b: FunctionRow) => number> = {
    name: (a, b) => text(a.func).name.localeCompare(text(b.func).name),
    module: (a, b) => text(a.func).module.localeCompare(text(b.func).module),
    self: (a, b) => a.self - b.self,
    total: (a, b) => a.total - b.total,
    samples: (a, b) => a.totalCount - b.totalCount,
    change: (a, b) => a.total - a.baseline - (b.total - b.baseline),
  };
  return rows.slice().sort((a, b) => sign * compare[by](a, b) || b.total - a.total || a.func - b.func);
}
