// Owns the regions that a thread was in, in the order of time. Knows nothing of canvases.
import type { Profile } from './container';
import { regionsOf } from './regions';
import type { SampleRow, ThreadRow } from './rows';
import { runStart } from './sums';

/** Row d has the spans rowStart[d] .. rowStart[d + 1] - 1, in time order; outer regions have lower rows. */
export interface RegionLane {
  readonly rows: number;
  readonly rowStart: Int32Array;
  readonly start: Float64Array;
  readonly end: Float64Array;
  /** Row of `regionsOf(profile).texts`. */
  readonly region: Int32Array;
}

/** Gaps between samples that are shorter than so many intervals are the sampler's. */
const GAP_INTERVALS = 0.6;

/** The regions of one thread; null where none of its samples with a time is in any. */
export function buildRegionLane(profile: Profile, thread: ThreadRow): RegionLane | null {
  const { sampleLabel, sampleThread, sampleTime, sampleLast, meta } = profile;
  if (!sampleLabel) return null;
  const { chain } = regionsOf(profile);
  const rows: SampleRow[] = [];
  let any = false;
  for (let row = 0 as SampleRow; row < sampleThread.length; row++) {
    if (sampleThread[row] !== thread || sampleTime[row] < 0) continue;
    rows.push(row);
    if (sampleLabel[row] >= 0) any = true;
  }
  if (!any) return null;
  rows.sort((a, b) => sampleTime[a] - sampleTime[b]);
  const spans: { start: number; end: number; region: number }[][] = [];
  let before: readonly number[] = [];
  let previousEnd = -Infinity;
  for (const row of rows) {
    const label = sampleLabel[row];
    const around = label < 0 ? [] : chain[label];
    const began = Math.max(runStart(profile, row), previousEnd);
    const goesOn = began - previousEnd <= meta.interval_ns * GAP_INTERVALS;
    const end = Math.max(sampleLast[row], began);
    let common = 0;
    while (goesOn && common < around.length && around[common] === before[common]) common++;
    around.forEach((region, depth) => {
      const row = (spans[depth] ??= []);
      if (depth < common) row[row.length - 1].end = end;
      else row.push({ start: goesOn ? previousEnd : began, end, region });
    });
    before = around;
    previousEnd = end;
  }
  const flat = spans.flat();
  const rowStart = new Int32Array(spans.length + 1);
  spans.forEach((row, depth) => {
    rowStart[depth + 1] = rowStart[depth] + row.length;
  });
  return {
    rows: spans.length,
    rowStart,
    start: Float64Array.from(flat, ({ start }) => start),
    end: Float64Array.from(flat, ({ end }) => end),
    region: Int32Array.from(flat, ({ region }) => region),
  };
}
