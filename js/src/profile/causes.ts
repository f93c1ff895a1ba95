// Owns what threads do while they are sampled: run, or wait for one of several causes. Knows no colours.
import type { Profile } from './container';
import type { Column, FuncRow, SampleRow, StackRow, ThreadRow, Writable } from './rows';
import { type SampleFilter, sumByStack } from './sums';
import { type CallTree, isFunction, threadOf } from './tree';

/** What a sample says of its thread: 0 it runs, 1 to 8 it waits, in the order of `sample.state`'s causes. */
export type Doing = number;

export const RUNNING: Doing = 0;
/** As they stand in a sentence, by `Doing`. */
export const DOINGS = [
  'running',
  'waiting',
  'waiting for the GIL',
  'waiting for a lock',
  'sleeping',
  'waiting for a socket',
  'waiting for a file',
  'waiting for a process',
  'waiting for a thread',
] as const;
/** The same in a word. */
export const SHORT = ['running', 'waiting', 'GIL', 'lock', 'sleep', 'socket', 'file', 'process', 'thread'] as const;

/** What of the samples that a filter takes each was doing, in ns; a filter's own choice of it does not count. */
export function timeByDoing(profile: Profile, filter: SampleFilter): number[] {
  return DOINGS.map((_, doing) => {
    const { weight, any } = sumByStack(profile, { ...filter, runningOnly: false, doing });
    let sum = 0;
    if (any) for (let stack = 0 as StackRow; stack < weight.length; stack++) sum += weight[stack];
    return sum;
  });
}

/** Time in ns by what was done in it, for each node of a tree. */
export type Doings = (node: number) => readonly number[];

/**
 * What the time of a tree's nodes was. A derived tree (inverted, of callers or callees) does not know its stacks:
 * its nodes have what their function has everywhere.
 */
export function doingsOf(profile: Profile, tree: CallTree, filter: SampleFilter): Doings {
  const { origins } = tree;
  const sums = new Map<ThreadRow | null, (Column<StackRow, number> | null)[]>();
  const ofThread = (thread: ThreadRow | null): (Column<StackRow, number> | null)[] => {
    let found = sums.get(thread);
    if (!found) {
      found = DOINGS.map((_, doing) => {
        if (filter.doing !== null && filter.doing !== doing) return null;
        const { subtree, any } = sumByStack(profile, { ...filter, doing }, thread);
        return any ? subtree : null;
      });
      sums.set(thread, found);
    }
    return found;
  };
  if (!origins) {
    const ofFunction = byFunction(profile, ofThread(null));
    return (node) => {
      const func = tree.key[node];
      return isFunction(func) ? ofFunction[func] : DOINGS.map(() => 0);
    };
  }
  const top = (node: number): ThreadRow | null => {
    for (let at = node; at > 0; at = tree.parent[at]) {
      const thread = threadOf(tree.key[at]);
      if (thread !== null) return thread;
    }
    return null;
  };
  return (node) =>
    ofThread(top(node)).map((subtree) => {
      let sum = 0;
      if (subtree)
        for (let entry = origins.head[node]; entry >= 0; entry = origins.next[entry])
          sum += subtree[origins.stack[entry]];
      return sum;
    });
}

/** By functions' rows; a function that calls itself counts as often as it does, so these are shares only. */
function byFunction(
  { stackFrame, frameFunc, funcName }: Profile,
  subtrees: (Column<StackRow, number> | null)[],
): Column<FuncRow, number[]> {
  const sums: Writable<FuncRow, number[]> = Array.from({ length: funcName.length }, () => DOINGS.map(() => 0));
  subtrees.forEach((subtree, doing) => {
    if (!subtree) return;
    for (let stack = 0 as StackRow; stack < stackFrame.length; stack++) {
      if (subtree[stack] !== 0) sums[frameFunc[stackFrame[stack]]][doing] += subtree[stack];
    }
  });
  return sums;
}

/** What took most of some time, and its share of it; running where there is none. */
export function mostOf(times: readonly number[]): { doing: Doing; share: number } {
  let whole = 0;
  let doing = RUNNING;
  times.forEach((time, each) => {
    whole += time;
    if (time > times[doing]) doing = each;
  });
  return { doing, share: whole > 0 ? times[doing] / whole : 1 };
}

/** Whether some of the profile's time is waiting. */
export function hasWaits({ sampleState }: Profile): boolean {
  for (let row = 0 as SampleRow; row < sampleState.length; row++) if ((sampleState[row] & 3) === 1) return true;
  return false;
}
