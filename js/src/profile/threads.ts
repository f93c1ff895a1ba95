// Owns what one thread's time adds up to, as `Profile.threads` has it in Python.
import type { Profile } from './container';
import type { SampleRow } from './rows';
import { gilOf, isWaiting } from './timeline';

export interface ThreadTimes {
  /** Nanoseconds that its samples stand for. */
  weight: number;
  /** Share of its time, 0 to 1, during which it waited. */
  waited: number;
  /** Share of the time of which it is known, 0 to 1, during which it held the GIL; null where it is known of none. */
  gilShare: number | null;
}

/**
 * Of every thread, in the order of the table. Times are weights, not how long runs of samples last: in CPU time a
 * run lasts longer than what was used in it.
 */
export function threadTimes({ threads, sampleThread, sampleWeight, sampleState }: Profile): ThreadTimes[] {
  const sums = threads.map(() => ({ weight: 0, waited: 0, known: 0, held: 0 }));
  for (let row = 0 as SampleRow; row < sampleThread.length; row++) {
    const sum = sums[sampleThread[row]];
    const each = sampleWeight[row];
    sum.weight += each;
    if (isWaiting(sampleState[row])) sum.waited += each;
    const gil = gilOf(sampleState[row]);
    if (gil === 1 || gil === 2) sum.known += each;
    if (gil === 2) sum.held += each;
  }
  return sums.map(({ weight, waited, known, held }) => ({
    weight,
    waited: weight > 0 ? waited / weight : 0,
    gilShare: known > 0 ? held / known : null,
  }));
}
