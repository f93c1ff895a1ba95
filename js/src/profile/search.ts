// Owns searching: from what was typed to the functions it matches and the share they cover.
import type { Names } from './names';
import type { Column, FuncRow, Writable } from './rows';
import { type CallTree, isFunction } from './tree';

export interface Query {
  readonly text: string;
  /** What is wrong with a regular expression, or ''. */
  readonly problem: string;
  test(value: string): boolean;
}

/** Reads `text` (any case) or `/regex/flags`; null where nothing is asked. */
export function parseQuery(text: string): Query | null {
  const trimmed = text.trim();
  if (trimmed === '') return null;
  const regex = /^\/(.+)\/([imsu]*)$/.exec(trimmed);
  if (regex) {
    try {
      const compiled = new RegExp(regex[1], regex[2]);
      return { text: trimmed, problem: '', test: (value) => compiled.test(value) };
    } catch (error) {
      return { text: trimmed, problem: (error as Error).message, test: () => false };
    }
  }
  const lower = trimmed.toLowerCase();
  return { text: trimmed, problem: '', test: (value) => value.toLowerCase().includes(lower) };
}

/** 1 for each function that matches. */
export type Marks = Column<FuncRow, number>;

/** Marks the functions whose name, module or file matches. */
export function matchFunctions(names: Names, functions: number, query: Query): Marks {
  const matches: Writable<FuncRow, number> = new Uint8Array(functions);
  for (let func = 0 as FuncRow; func < functions; func++) {
    const { module, file, path } = names.place(func);
    const title = names.title(func);
    if (
      query.test(title) ||
      query.test(names.name(func)) ||
      query.test(`${module}.${title}`) ||
      query.test(names.location(func)) ||
      query.test(file) ||
      query.test(path)
    ) {
      matches[func] = 1;
    }
  }
  return matches;
}

export interface Found {
  /** Nodes whose function matches. */
  nodes: number;
  functions: number;
  /** Time within matching functions; a match inside a match counts once. Nanoseconds. */
  covered: number;
}

export function coverage(tree: CallTree, matches: Marks): Found {
  const within = new Uint8Array(tree.length);
  const seen = new Set<FuncRow>();
  let nodes = 0;
  let covered = 0;
  for (let node = 1; node < tree.length; node++) {
    const above = within[tree.parent[node]];
    const key = tree.key[node];
    const hit = isFunction(key) && matches[key] === 1 ? key : null;
    within[node] = above | (hit === null ? 0 : 1);
    if (hit === null) continue;
    nodes++;
    seen.add(hit);
    if (!above) covered += tree.total[node];
  }
  return { nodes, functions: seen.size, covered };
}
