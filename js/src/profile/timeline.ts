// Owns the profile in the order of time: one lane a thread, calls as spans, and what the thread did meanwhile.
// Knows nothing of canvases.
import type { Profile } from './container';
import { runStart } from './sums';

export interface Lane {
  /** Row of `threads`. */
  readonly thread: number;
  /** Nanoseconds this thread's samples stand for. */
  readonly weight: number;
  /** Rows of calls; row d has the spans rowStart[d] .. rowStart[d + 1] - 1, in time order. */
  readonly rows: number;
  readonly rowStart: Int32Array;
  readonly start: Float64Array;
  readonly end: Float64Array;
  readonly func: Int32Array;
  /** The first stack of the span: the way up from it leads through the span's call. */
  readonly stack: Int32Array;
  readonly states: States;
}

/** Runs of samples of one state, in time order. */
export interface States {
  readonly start: Float64Array;
  readonly end: Float64Array;
  /** `sample.state` of the run. */
  readonly state: Uint8Array;
}

export const isWaiting = (state: number): boolean => (state & 3) === 1;
/** 0 unknown, 1 not held, 2 held. */
export const gilOf = (state: number): number => (state >> 2) & 3;

/** First and last instant of all samples that have a time. */
export function timeExtent(profile: Profile): [number, number] {
  let first = Infinity;
  let last = 0;
  for (let row = 0; row < profile.sampleTime.length; row++) {
    if (profile.sampleTime[row] < 0) continue;
    const began = runStart(profile, row);
    if (began < first) first = began;
    if (profile.sampleLast[row] > last) last = profile.sampleLast[row];
  }
  return first < last ? [Math.max(0, first), last] : [0, Math.max(1, last)];
}

/** Gaps shorter than this many sampling intervals are the sampler's, not the program's. */
const GAP_INTERVALS = 0.6;

export function buildLane(profile: Profile, thread: number): Lane {
  const { sampleThread, sampleStack, sampleTime, sampleLast, sampleWeight, sampleState } = profile;
  const { stackParent, stackFrame, frameFunc } = profile;
  const rows: number[] = [];
  let weight = 0;
  let sorted = true;
  for (let row = 0; row < sampleThread.length; row++) {
    if (sampleThread[row] !== thread) continue;
    weight += sampleWeight[row];
    if (sampleTime[row] < 0) continue;
    if (rows.length > 0 && sampleTime[row] < sampleTime[rows[rows.length - 1]]) sorted = false;
    rows.push(row);
  }
  if (!sorted) rows.sort((a, b) => sampleTime[a] - sampleTime[b]);

  const spans: { start: number[]; end: number[]; func: number[]; stack: number[] }[] = [];
  const states: { start: number[]; end: number[]; state: number[] } = { start: [], end: [], state: [] };
  // The calls that are open, outermost first.
  const openFunc: number[] = [];
  const openStart: number[] = [];
  const openStack: number[] = [];
  const close = (depth: number, at: number): void => {
    while (openFunc.length > depth) {
      const row = openFunc.length - 1;
      const span = (spans[row] ??= { start: [], end: [], func: [], stack: [] });
      span.start.push(openStart.pop() as number);
      span.end.push(at);
      span.func.push(openFunc.pop() as number);
      span.stack.push(openStack.pop() as number);
    }
  };
  const tolerance = profile.meta.interval_ns * GAP_INTERVALS;
  const path: number[] = [];
  const stacks: number[] = [];
  let previousStack = -1;
  let previousEnd = -Infinity;
  for (const row of rows) {
    let start = Math.max(previousEnd, runStart(profile, row));
    const end = Math.max(sampleLast[row], start);
    const gap = start - previousEnd;
    if (gap > 0 && gap <= tolerance) start = previousEnd;
    else if (gap > 0) close(0, previousEnd);
    const stack = sampleStack[row];
    if (stack !== previousStack || openFunc.length === 0) {
      path.length = stacks.length = 0;
      for (let at = stack; at >= 0; at = stackParent[at]) {
        path.push(frameFunc[stackFrame[at]]);
        stacks.push(at);
      }
      path.reverse();
      stacks.reverse();
      let common = 0;
      while (common < path.length && common < openFunc.length && path[common] === openFunc[common]) common++;
      close(common, start);
      for (let depth = common; depth < path.length; depth++) {
        openFunc.push(path[depth]);
        openStart.push(start);
        openStack.push(stacks[depth]);
      }
    }
    const last = states.state.length - 1;
    if (last >= 0 && states.state[last] === sampleState[row] && states.end[last] >= start) {
      states.end[last] = end;
    } else {
      states.start.push(start);
      states.end.push(end);
      states.state.push(sampleState[row]);
    }
    previousStack = stack;
    previousEnd = end;
  }
  close(0, previousEnd);

  const rowStart = new Int32Array(spans.length + 1);
  spans.forEach((span, row) => (rowStart[row + 1] = rowStart[row] + span.start.length));
  return {
    thread,
    weight,
    rows: spans.length,
    rowStart,
    start: Float64Array.from(spans.flatMap((span) => span.start)),
    end: Float64Array.from(spans.flatMap((span) => span.end)),
    func: Int32Array.from(spans.flatMap((span) => span.func)),
    stack: Int32Array.from(spans.flatMap((span) => span.stack)),
    states: { start: Float64Array.from(states.start), end: Float64Array.from(states.end), state: Uint8Array.from(states.state) },
  };
}

/**
 * The lane as it looks from afar, where `gap` ns are too little to see: calls of one function that close up to
 * one, and stretches of shorter calls show the function that had most of the stretch. The cost of drawing it is
 * that of what can be seen, and a row of many short calls still says whose they are.
 */
export function coarsen(lane: Lane, gap: number): Lane {
  const start: number[] = [];
  const end: number[] = [];
  const func: number[] = [];
  const stack: number[] = [];
  const rowStart = new Int32Array(lane.rows + 1);
  const shares = new Map<number, { time: number; stack: number }>();
  for (let row = 0; row < lane.rows; row++) {
    const first = start.length;
    const emit = (from: number, to: number, of: number, at: number): void => {
      const last = start.length - 1;
      if (last >= first && func[last] === of && from - end[last] <= gap) {
        end[last] = to;
        return;
      }
      start.push(from);
      end.push(to);
      func.push(of);
      stack.push(at);
    };
    const high = lane.rowStart[row + 1];
    for (let at = lane.rowStart[row]; at < high; ) {
      const from = lane.start[at];
      if (lane.end[at] - from >= gap) {
        emit(from, lane.end[at], lane.func[at], lane.stack[at]);
        at++;
        continue;
      }
      shares.clear();
      let to = from;
      while (at < high && lane.start[at] < from + gap && lane.end[at] - lane.start[at] < gap) {
        const length = lane.end[at] - lane.start[at];
        const share = shares.get(lane.func[at]);
        if (share) share.time += length;
        else shares.set(lane.func[at], { time: length, stack: lane.stack[at] });
        to = lane.end[at++];
      }
      let most = { of: -1, time: -1, stack: -1 };
      for (const [of, { time, stack: its }] of shares) if (time > most.time) most = { of, time, stack: its };
      emit(from, to, most.of, most.stack);
    }
    rowStart[row + 1] = start.length;
  }
  return {
    ...lane,
    rowStart,
    start: Float64Array.from(start),
    end: Float64Array.from(end),
    func: Int32Array.from(func),
    stack: Int32Array.from(stack),
  };
}

/** First index in [low, high) whose end lies after `time`. */
function firstEndingAfter(end: Float64Array, low: number, high: number, time: number): number {
  while (low < high) {
    const middle = (low + high) >> 1;
    if (end[middle] > time) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * Calls `show` for each interval of a sorted run that the window shows, and `rest` for stretches of intervals
 * each narrower than `minWidth`. The cost is that of the pixels, not of the intervals.
 */
export function visitSpans(
  spans: { start: Float64Array; end: Float64Array },
  low: number,
  high: number,
  window: { from: number; to: number; minWidth: number },
  show: (index: number) => void,
  rest: (from: number, to: number) => void,
): void {
  const { start, end } = spans;
  let at = firstEndingAfter(end, low, high, window.from);
  while (at < high && start[at] < window.to) {
    if (end[at] - start[at] >= window.minWidth) {
      show(at++);
      continue;
    }
    const began = start[at];
    let next = Math.max(at + 1, firstEndingAfter(end, at, high, began + window.minWidth));
    // The span that crosses the stretch's end may be wide enough to be shown for itself.
    if (next > at + 1 && end[next - 1] - start[next - 1] >= window.minWidth) next--;
    rest(began, end[next - 1]);
    at = next;
  }
}

/** The span of a lane's row at an instant, or -1. */
export function spanAt(lane: Lane, row: number, time: number): number {
  if (row < 0 || row >= lane.rows) return -1;
  const high = lane.rowStart[row + 1];
  const at = firstEndingAfter(lane.end, lane.rowStart[row], high, time);
  return at < high && lane.start[at] <= time ? at : -1;
}

/** The row of a span. */
export function rowOf(lane: Lane, span: number): number {
  let row = 0;
  while (row + 1 < lane.rows && lane.rowStart[row + 1] <= span) row++;
  return row;
}
