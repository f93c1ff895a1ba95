// Owns which nodes of a call tree a list shows in which entries open. Knows nothing of elements.
import type { CallTree } from './tree';

/** An entry that nobody opened or closed is open from this share of the whole on. */
const OPEN_FROM = 0.1;

export interface Entry {
  readonly node: number;
  /** The way from the root by names: the same in a newer profile. */
  readonly place: string;
  readonly open: boolean;
  readonly leaf: boolean;
}

/** Nodes below the whole in reading order, heaviest first; those below a closed one are left out. */
export function openNodes(
  tree: CallTree,
  name: (key: number) => string,
  decided: ReadonlyMap<string, boolean>,
): Entry[] {
  const entries: Entry[] = [];
  const pending: { node: number; place: string }[] = [];
  const push = (node: number, place: string): void => {
    // The heaviest comes off the pile first.
    for (let i = tree.childStart[node + 1] - 1; i >= tree.childStart[node]; i--) {
      const child = tree.childList[i];
      pending.push({ node: child, place: `${place}\n${name(tree.key[child])}` });
    }
  };
  push(0, '');
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { node, place } = next;
    const leaf = tree.childStart[node] === tree.childStart[node + 1];
    const open = !leaf && (decided.get(place) ?? tree.extent[node] >= OPEN_FROM * tree.extent[0]);
    entries.push({ node, place, open, leaf });
    if (open) push(node, place);
  }
  return entries;
}
