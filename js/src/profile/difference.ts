// Owns reading a difference: both profiles in one container, their threads named `before: ...` and `after: ...`.
import type { Profile, Thread } from './container';

const BEFORE = 'before: ';
const AFTER = 'after: ';

/**
 * One profile whose weights are those after and whose baselines are those before; any other profile comes
 * back as it is. Functions that only moved to another line count as the same.
 */
export function asDifference(profile: Profile): Profile {
  const { threads } = profile;
  const sides = new Set(
    threads.map(({ name }) => (name.startsWith(BEFORE) ? BEFORE : name.startsWith(AFTER) ? AFTER : '')),
  );
  if (sides.size !== 2 || sides.has('')) return profile;

  const merged: Thread[] = [];
  const rowOf = new Map<string, number>();
  const threadRow = threads.map((thread) => {
    const name = thread.name.slice(thread.name.startsWith(BEFORE) ? BEFORE.length : AFTER.length);
    let row = rowOf.get(name);
    if (row === undefined) {
      row = merged.push({ ...thread, name }) - 1;
      rowOf.set(name, row);
    }
    return row;
  });

  const funcOf = new Map<string, number>();
  const same = Uint32Array.from(profile.funcName, (name, func) => {
    const key = `${name},${profile.funcFile[func]},${profile.funcFlags[func]}`;
    const first = funcOf.get(key) ?? func;
    funcOf.set(key, first);
    return first;
  });

  const rows = profile.sampleStack.length;
  const weight = profile.sampleWeight.slice();
  const count = profile.sampleCount.slice();
  const baseline = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    if (!threads[profile.sampleThread[row]].name.startsWith(BEFORE)) continue;
    baseline[row] = weight[row];
    weight[row] = 0;
    count[row] = 0;
  }
  return {
    ...profile,
    threads: merged,
    frameFunc: profile.frameFunc.map((func) => same[func]),
    sampleThread: profile.sampleThread.map((thread) => threadRow[thread]),
    sampleWeight: weight,
    sampleCount: count,
    sampleBaseline: baseline,
  };
}
