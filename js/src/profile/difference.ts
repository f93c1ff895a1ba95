// Owns reading a difference: both profiles in one container, which says whose the threads are.
import type { Profile, Thread } from './container';
import { type FrameRow, type FuncRow, rowsOf, type SampleRow, type ThreadRow, type Writable } from './rows';

const BEFORE = 'before: ';
const AFTER = 'after: ';

/** Which threads were before, by row; null where the profile is no difference. */
function sidesOf({ meta, threads }: Profile): boolean[] | null {
  if (meta.difference) {
    const before = new Set(meta.difference.before);
    return threads.map((_, row) => before.has(row as ThreadRow));
  }
  // Files of a time before differences said what they are.
  const named = threads.map(({ name }) => (name.startsWith(BEFORE) ? BEFORE : name.startsWith(AFTER) ? AFTER : ''));
  return new Set(named).size === 2 && !named.includes('') ? named.map((side) => side === BEFORE) : null;
}

const withoutSide = (name: string): string =>
  [BEFORE, AFTER].reduce((text, side) => (text.startsWith(side) ? text.slice(side.length) : text), name);

/**
 * One profile whose weights are those after and whose baselines are those before; any other profile comes
 * back as it is. Functions that only moved to another line count as the same.
 */
export function asDifference(profile: Profile): Profile {
  const { threads } = profile;
  const wasBefore = sidesOf(profile);
  if (wasBefore === null) return profile;

  const merged: Thread[] = [];
  const rowOf = new Map<string, ThreadRow>();
  const threadRow = threads.map((thread) => {
    const name = withoutSide(thread.name);
    let row = rowOf.get(name);
    if (row === undefined) {
      row = (merged.push({ ...thread, name }) - 1) as ThreadRow;
      rowOf.set(name, row);
    }
    return row;
  });

  const funcOf = new Map<string, FuncRow>();
  const same = Array.from(rowsOf<FuncRow>(profile.funcName.length), (func): FuncRow => {
    const key = `${profile.funcName[func]},${profile.funcFile[func]},${profile.funcFlags[func]}`;
    const first = funcOf.get(key) ?? func;
    funcOf.set(key, first);
    return first;
  });

  const rows = profile.sampleStack.length;
  const weight: Writable<SampleRow, number> = new Float64Array(rows);
  const count: Writable<SampleRow, number> = new Uint32Array(rows);
  const baseline: Writable<SampleRow, number> = new Float64Array(rows);
  const baselineCount: Writable<SampleRow, number> = new Uint32Array(rows);
  const thread = new Uint32Array(rows) as unknown as Writable<SampleRow, ThreadRow>;
  for (let row = 0 as SampleRow; row < rows; row++) {
    const of = profile.sampleThread[row];
    thread[row] = threadRow[of];
    if (wasBefore[of]) {
      baseline[row] = profile.sampleWeight[row];
      baselineCount[row] = profile.sampleCount[row];
    } else {
      weight[row] = profile.sampleWeight[row];
      count[row] = profile.sampleCount[row];
    }
  }
  const frameFunc = new Uint32Array(profile.frameFunc.length) as unknown as Writable<FrameRow, FuncRow>;
  for (const frame of rowsOf<FrameRow>(frameFunc.length)) frameFunc[frame] = same[profile.frameFunc[frame]];
  return {
    ...profile,
    threads: merged,
    frameFunc,
    sampleThread: thread,
    sampleWeight: weight,
    sampleCount: count,
    sampleBaseline: baseline,
    sampleBaselineCount: baselineCount,
  };
}
