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

/** What is looked for: text in any case, or a regular expression if it has flags, which may be none. */
export interface Search {
  readonly search: string;
  readonly pattern: string | null;
}

/** Flags of a pattern that a reader types. */
export const TYPED_PATTERN = 'i';

/** From what a program asks for: text, or a regular expression between slashes. */
export function searchOf(text: string): Search {
  const regex = /^\/(.+)\/([imsu]*)$/.exec(text.trim());
  return regex ? { search: regex[1], pattern: regex[2] } : { search: text, pattern: null };
}

/** What a program is told of it. */
export function textOf({ search, pattern }: Search): string {
  return pattern === null || search === '' ? search : `/${search}/${pattern}`;
}

/** Null where nothing is asked. */
export function parseQuery({ search, pattern }: Search): Query | null {
  const text = search.trim();
  if (text === '') return null;
  if (pattern !== null) {
    try {
      const compiled = new RegExp(text, pattern);
      return { text, problem: '', test: (value) => compiled.test(value) };
    } catch (error) {
      return { text, problem: (error as Error).message, test: () => false };
    }
  }
  const lower = text.toLowerCase();
  return { text, problem: '', test: (value) => value.toLowerCase().includes(lower) };
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

/** Nodes whose function matches: callers before their callees, heavier ones first. */
export function matchedNodes(tree: CallTree, matches: Marks): number[] {
  const found: number[] = [];
  const pending = [0];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    const key = tree.key[node];
    if (isFunction(key) && matches[key] === 1) found.push(node);
    for (let i = tree.childStart[node + 1] - 1; i >= tree.childStart[node]; i--) pending.push(tree.childList[i]);
  }
  return found;
}
