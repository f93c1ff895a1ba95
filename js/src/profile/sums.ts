// Owns what samples add up to by stack, for the threads and times asked for. Knows nothing of functions.
import type { Profile } from './container';
import { labelsInside } from './regions';
import type { Column, SampleRow, StackRow, ThreadRow, Writable } from './rows';

export interface SampleFilter {
  /** Rows of `threads` to take; null takes all. */
  threads: ReadonlySet<ThreadRow> | null;
  /** Samples that stand for waiting are left out. */
  runningOnly: boolean;
  /** Only samples of threads that do this; see causes.ts. Null takes all. */
  doing: number | null;
  /** Only samples in this region, by its name or text; see regions.ts. Null takes all. */
  region: string | null;
  /** Only this time, in ns; what lies across its ends counts in part. */
  range: readonly [number, number] | null;
}

/** Sums of samples by stack; nanoseconds. */
export interface StackSums {
  readonly weight: Column<StackRow, number>;
  readonly count: Column<StackRow, number>;
  readonly baseline: Column<StackRow, number> | null;
  /** The row and all stacks it calls. */
  readonly subtree: Column<StackRow, number>;
  /** 1 where a sample that counts has the stack or one that it calls. */
  readonly used: Column<StackRow, number>;
  /** Whether any sample counts. */
  readonly any: boolean;
}

const WAITING = 1;
const STATE = 3;

/** See causes.ts. */
export const doingOf = (state: number): number => ((state & STATE) === WAITING ? 1 + (state >> 5) : 0);

/** Adds up samples; a `thread` counts instead of the filter's threads. */
export function sumByStack(profile: Profile, options: SampleFilter, thread: ThreadRow | null = null): StackSums {
  const {
    sampleStack,
    sampleThread,
    sampleWeight,
    sampleCount,
    sampleState,
    sampleBaseline,
    sampleLabel,
    stackParent,
  } = profile;
  const stacks = stackParent.length;
  const own = new Float64Array(stacks);
  const weight: Writable<StackRow, number> = own;
  const count: Writable<StackRow, number> = new Float64Array(stacks);
  const baseline: Writable<StackRow, number> | null = sampleBaseline ? new Float64Array(stacks) : null;
  const used: Writable<StackRow, number> = new Uint8Array(stacks);
  let any = false;
  const { threads, runningOnly, doing, region, range } = options;
  const inside = region === null ? null : labelsInside(profile, region);
  for (let row = 0 as SampleRow; row < sampleStack.length; row++) {
    if (thread !== null ? sampleThread[row] !== thread : threads !== null && !threads.has(sampleThread[row])) continue;
    if (runningOnly && (sampleState[row] & STATE) === WAITING) continue;
    if (doing !== null && doingOf(sampleState[row]) !== doing) continue;
    if (inside && !(sampleLabel && sampleLabel[row] >= 0 && inside[sampleLabel[row]])) continue;
    const part = range === null ? 1 : partWithin(profile, row, range);
    if (part === 0) continue;
    const stack = sampleStack[row];
    weight[stack] += sampleWeight[row] * part;
    count[stack] += sampleCount[row] * part;
    if (baseline && sampleBaseline) baseline[stack] += sampleBaseline[row] * part;
    used[stack] = 1;
    any = true;
  }
  const subtree: Writable<StackRow, number> = own.slice();
  for (let stack = (stacks - 1) as StackRow; stack >= 0; stack--) {
    const parent = stackParent[stack];
    if (parent < 0) continue;
    subtree[parent] += subtree[stack];
    used[parent] |= used[stack];
  }
  return { weight, count, baseline, subtree, used, any };
}

/**
 * When a row's run began: a sample stands for the time since the one before it. In wall time the run is as long
 * as its weight, however unevenly its samples came; in CPU time it may be longer.
 */
export function runStart({ sampleTime, sampleLast, sampleWeight, sampleCount }: Profile, row: SampleRow): number {
  const each = sampleWeight[row] / Math.max(1, sampleCount[row]);
  return Math.min(sampleTime[row] - each, sampleLast[row] - sampleWeight[row]);
}

/** The share of a row's time that lies in the range. */
function partWithin(profile: Profile, row: SampleRow, [from, to]: readonly [number, number]): number {
  if (profile.sampleTime[row] < 0) return 0;
  const end = profile.sampleLast[row];
  const start = Math.min(runStart(profile, row), end - 1);
  return Math.max(0, Math.min(end, to) - Math.max(start, from)) / (end - start);
}
