// Owns turning trees back into text, so that a test reads as the answer it expects.

import type { Profile } from '../src/profile/container';
import type { Names } from '../src/profile/names';
import { type CallTree, isFunction, threadOf } from '../src/profile/tree';

/** One line a node, indented by depth: name, total/self. */
export function show(tree: CallTree, names: Names, profile: Profile): string[] {
  const lines: string[] = [];
  const visit = (node: number): void => {
    const key = tree.key[node];
    const thread = threadOf(key);
    const name = isFunction(key) ? names.name(key) : thread !== null ? `[${profile.threads[thread].name}]` : 'all';
    lines.push(`${'  '.repeat(tree.depth[node])}${name} ${tree.total[node]}/${tree.self[node]}`);
    for (let i = tree.childStart[node]; i < tree.childStart[node + 1]; i++) visit(tree.childList[i]);
  };
  visit(0);
  return lines;
}
