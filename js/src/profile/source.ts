// Owns the time of one file line by line.
import type { Profile } from './container';
import type { StackRow, StringRow } from './rows';
import { type SampleFilter, sumByStack } from './sums';

export interface LineTime {
  /** Nanoseconds with this line executing itself. */
  self: number;
  /** Nanoseconds with this line on the stack, once however often it is on it. */
  total: number;
}

/** Times by line of one file; line 0 gathers what has no line. */
export function lineTimes(profile: Profile, file: StringRow, filter: SampleFilter): Map<number, LineTime> {
  const { stackParent, stackFrame, frameFunc, frameLine, funcFile } = profile;
  const { weight, subtree, used } = sumByStack(profile, filter);
  const lineOf = (stack: StackRow): number => {
    const frame = stackFrame[stack];
    return funcFile[frameFunc[frame]] === file ? frameLine[frame] : -1;
  };
  const times = new Map<number, LineTime>();
  for (let stack = 0 as StackRow; stack < stackParent.length; stack++) {
    if (!used[stack]) continue;
    const line = lineOf(stack);
    if (line < 0) continue;
    let time = times.get(line);
    if (!time) times.set(line, (time = { self: 0, total: 0 }));
    time.self += weight[stack];
    let outermost = true;
    for (let up = stackParent[stack]; up >= 0 && outermost; up = stackParent[up]) outermost = lineOf(up) !== line;
    if (outermost) time.total += subtree[stack];
  }
  return times;
}
