// Owns what a reader can choose about a profile, and how the choices follow when another profile comes: by name,
// since its rows are numbered anew. Knows nothing of what follows from them.
import type { ColorMode } from '../profile/colors';
import type { Profile, Thread } from '../profile/container';
import type { Names } from '../profile/names';
import { regionsOf } from '../profile/regions';
import type { FuncRow, ThreadRow } from '../profile/rows';
import type { Search } from '../profile/search';
import { isFunction, THREAD, type TreeOptions, threadOf, WHOLE } from '../profile/tree';

export const VIEWS = ['icicle', 'flame', 'tree', 'timeline', 'table', 'sandwich', 'source', 'speedscope'] as const;
export type ViewName = (typeof VIEWS)[number];

export interface Selection {
  readonly func: FuncRow;
  /** Functions from the root to the selected one; empty where only the function is selected. */
  readonly stack: readonly FuncRow[];
}

export interface Choices extends Search {
  readonly view: ViewName;
  readonly inverted: boolean;
  /** Also the frames that are folded otherwise. */
  readonly allFrames: boolean;
  /** Without libraries: what they do belongs to the line that called them. */
  readonly onlyOwn: boolean;
  readonly colors: ColorMode;
  readonly tree: TreeOptions;
  readonly selection: Selection | null;
  /** Keys from the root of the shown tree to the frame that fills the width. */
  readonly zoom: readonly number[];
  /** Threads of which the timeline shows no calls. */
  readonly foldedLanes: ReadonlySet<ThreadRow>;
}

export const AT_FIRST: Choices = {
  view: 'icicle',
  search: '',
  pattern: null,
  inverted: false,
  allFrames: false,
  onlyOwn: false,
  colors: 'module',
  tree: WHOLE,
  selection: null,
  zoom: [],
  foldedLanes: new Set(),
};

/** A profile and how its functions are called. */
export interface Named {
  readonly profile: Profile;
  readonly names: Names;
}

/**
 * The row of a thread among others: the same one, or in another run of the program the only one of its name.
 * Systems give a number out again, so a number under another name is another thread.
 */
export function findThread(threads: readonly Thread[], wanted: Thread): ThreadRow | undefined {
  const named = threads.flatMap(({ name }, row) => (name === wanted.name ? [row as ThreadRow] : []));
  const same = named.find((row) => {
    const { tid, pid, host } = threads[row];
    return tid === wanted.tid && pid === wanted.pid && host === wanted.host;
  });
  return same ?? (named.length === 1 ? named[0] : undefined);
}

/** The same choices about the same functions of a newer profile, as far as these are in it. */
export function carriedOver(choices: Choices, old: Named, next: Named): Choices {
  const rows = new Map<string, FuncRow>();
  for (let func = 0 as FuncRow; func < next.profile.funcName.length; func++) rows.set(next.names.identity(func), func);
  const carry = (func: FuncRow): FuncRow | undefined => rows.get(old.names.identity(func));
  /** Up to the first that is no longer there. */
  const carryAll = <Key>(keys: Iterable<Key>, one: (key: Key) => Key | undefined): Key[] => {
    const result: Key[] = [];
    for (const key of keys) {
      const carried = one(key);
      if (carried === undefined) break;
      result.push(carried);
    }
    return result;
  };
  const carryThread = (row: ThreadRow): ThreadRow | undefined =>
    findThread(next.profile.threads, old.profile.threads[row]);
  const carryKey = (key: number): number | undefined => {
    if (isFunction(key)) return carry(key);
    const row = threadOf(key);
    if (row === null) return key;
    const carried = carryThread(row);
    return carried === undefined ? undefined : THREAD - carried;
  };
  const carryThreads = (rows: Iterable<ThreadRow>): Set<ThreadRow> =>
    new Set(Array.from(rows, carryThread).filter((row) => row !== undefined));
  const { selection, tree, zoom } = choices;
  const threads = carryThreads(tree.threads ?? []);
  const selected = selection ? carry(selection.func) : undefined;
  const { texts, names } = regionsOf(next.profile);
  const region = [...texts, ...names].find((known) => known === tree.region) ?? null;
  const focus = tree.focusFunction === null ? null : (carry(tree.focusFunction) ?? null);
  return {
    ...choices,
    selection: selection && selected !== undefined ? { func: selected, stack: carryAll(selection.stack, carry) } : null,
    zoom: carryAll(zoom, carryKey),
    foldedLanes: carryThreads(choices.foldedLanes),
    tree: {
      ...tree,
      // Rather all threads than one that was not chosen.
      threads: threads.size > 0 ? threads : null,
      region,
      focusFunction: focus,
      hideFunctions: new Set(
        Array.from(tree.hideFunctions, (func) => carry(func)).filter((func) => func !== undefined),
      ),
    },
  };
}
