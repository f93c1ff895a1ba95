// Owns the profile in the order of time: one lane a thread, calls as spans, and what the thread did meanwhile.
// Knows nothing of canvases.
import type { Profile } from './container';
import type { Column, FuncRow, SampleRow, StackRow, ThreadRow } from './rows';
import { runStart } from './sums';

export interface Lane {
  readonly thread: ThreadRow;
  /** Nanoseconds this thread's samples stand for. */
  readonly weight: number;
  /** Rows of calls; row d has the spans rowStart[d] .. rowStart[d + 1] - 1, in time order. */
  readonly rows: number;
  readonly rowStart: Int32Array;
  readonly start: Float64Array;
  readonly end: Float64Array;
  readonly func: Column<number, FuncRow>;
  /** The first stack of the span: the way up from it leads through the span's call. */
  readonly stack: Column<number, StackRow>;
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
  for (let row = 0 as SampleRow; row < profile.sampleTime.length; row++) {
    if (profile.sampleTime[row] < 0) continue;
    const began = runStart(profile, row);
    if (began < first) first = began;
    if (profile.sampleLast[row] > last) last = profile.sampleLast[row];
  }
  return first < last ? [Math.max(0, first), last] : [0, Math.max(1, last)];
}

/** Gaps shorter than this many sampling intervals are the sampler's, not the program's. */
const GAP_INTERVALS = 0.6;

/** Spans in the order in which they ended, in columns that grow. */
class SpanList {
  length = 0;
  private row = new Int32Array(1024);
  private start = new Float64Array(1024);
  private end = new Float64Array(1024);
  private func = new Int32Array(1024);
  private stack = new Int32Array(1024);

  push(row: number, start: number, end: number, func: FuncRow, stack: StackRow): void {
    const at = this.length++;
    if (at === this.row.length) this.grow();
    this.row[at] = row;
    this.start[at] = start;
    this.end[at] = end;
    this.func[at] = func;
    this.stack[at] = stack;
  }

  private grow(): void {
    const double = <T extends Int32Array | Float64Array>(wider: T, old: T): T => {
      wider.set(old);
      return wider;
    };
    const size = this.row.length * 2;
    this.row = double(new Int32Array(size), this.row);
    this.start = double(new Float64Array(size), this.start);
    this.end = double(new Float64Array(size), this.end);
    this.func = double(new Int32Array(size), this.func);
    this.stack = double(new Int32Array(size), this.stack);
  }

  /** Row by row; within a row they end in the order of time, and so they stay. */
  byRow(): Pick<Lane, 'rows' | 'rowStart' | 'start' | 'end' | 'func' | 'stack'> {
    const { length, row } = this;
    let rows = 0;
    for (let i = 0; i < length; i++) if (row[i] >= rows) rows = row[i] + 1;
    const rowStart = new Int32Array(rows + 1);
    for (let i = 0; i < length; i++) rowStart[row[i] + 1]++;
    for (let r = 0; r < rows; r++) rowStart[r + 1] += rowStart[r];
    const fill = rowStart.slice();
    const start = new Float64Array(length);
    const end = new Float64Array(length);
    const func = new Int32Array(length);
    const stack = new Int32Array(length);
    for (let i = 0; i < length; i++) {
      const at = fill[row[i]]++;
      start[at] = this.start[i];
      end[at] = this.end[i];
      func[at] = this.func[i];
      stack[at] = this.stack[i];
    }
    return {
      rows,
      rowStart,
      start,
      end,
      func: func as unknown as Lane['func'],
      stack: stack as unknown as Lane['stack'],
    };
  }
}

export function buildLane(profile: Profile, thread: ThreadRow): Lane {
  const { sampleThread, sampleStack, sampleTime, sampleLast, sampleWeight, sampleState } = profile;
  const { stackParent, stackFrame, frameFunc } = profile;
  const rows: SampleRow[] = [];
  let weight = 0;
  let sorted = true;
  for (let row = 0 as SampleRow; row < sampleThread.length; row++) {
    if (sampleThread[row] !== thread) continue;
    weight += sampleWeight[row];
    if (sampleTime[row] < 0) continue;
    if (rows.length > 0 && sampleTime[row] < sampleTime[rows[rows.length - 1]]) sorted = false;
    rows.push(row);
  }
  if (!sorted) rows.sort((a, b) => sampleTime[a] - sampleTime[b]);

  const spans = new SpanList();
  const states: { start: number[]; end: number[]; state: number[] } = { start: [], end: [], state: [] };
  // The calls that are open, outermost first.
  const openFunc: FuncRow[] = [];
  const openStart: number[] = [];
  const openStack: StackRow[] = [];
  const close = (depth: number, at: number): void => {
    while (openFunc.length > depth) {
      const row = openFunc.length - 1;
      spans.push(row, openStart.pop() as number, at, openFunc.pop() as FuncRow, openStack.pop() as StackRow);
    }
  };
  const tolerance = profile.meta.interval_ns * GAP_INTERVALS;
  const path: FuncRow[] = [];
  const stacks: StackRow[] = [];
  let previousStack: StackRow | null = null;
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

  return {
    thread,
    weight,
    ...spans.byRow(),
    states: {
      start: Float64Array.from(states.start),
      end: Float64Array.from(states.end),
      state: Uint8Array.from(states.state),
    },
  };
}

/**
 * The lane as it looks from afar, where `gap` ns are too little to see: calls of one function that close up to
 * one, and stretches of shorter calls show the function that had most of the stretch. The cost of drawing it is
 * that of what can be seen, and a row of many short calls still says whose they are. With `from` and `to`, only
 * what lies between them is made.
 */
export function coarsen(lane: Lane, gap: number, from = -Infinity, to = Infinity): Lane {
  const spans = lane.func.length;
  const start = new Float64Array(spans);
  const end = new Float64Array(spans);
  const func = new Int32Array(spans);
  const stack = new Int32Array(spans);
  const rowStart = new Int32Array(lane.rows + 1);
  // The functions of the stretch at hand and what each had of it; few, so that a search finds them fastest.
  const seen: FuncRow[] = [];
  const spent: number[] = [];
  const stacks: StackRow[] = [];
  let length = 0;
  for (let row = 0; row < lane.rows; row++) {
    const first = length;
    const emit = (began: number, ended: number, of: FuncRow, at: StackRow): void => {
      if (length > first && func[length - 1] === of && began - end[length - 1] <= gap) {
        end[length - 1] = ended;
        return;
      }
      start[length] = began;
      end[length] = ended;
      func[length] = of;
      stack[length++] = at;
    };
    const high = lane.rowStart[row + 1];
    for (let at = firstEndingAfter(lane.end, lane.rowStart[row], high, from); at < high && lane.start[at] < to; ) {
      const began = lane.start[at];
      if (lane.end[at] - began >= gap) {
        emit(began, lane.end[at], lane.func[at], lane.stack[at]);
        at++;
        continue;
      }
      seen.length = spent.length = stacks.length = 0;
      let ended = began;
      while (at < high && lane.start[at] < began + gap && lane.end[at] - lane.start[at] < gap) {
        const known = seen.indexOf(lane.func[at]);
        if (known >= 0) {
          spent[known] += lane.end[at] - lane.start[at];
        } else {
          seen.push(lane.func[at]);
          spent.push(lane.end[at] - lane.start[at]);
          stacks.push(lane.stack[at]);
        }
        ended = lane.end[at++];
      }
      let most = 0;
      for (let i = 1; i < seen.length; i++) if (spent[i] > spent[most]) most = i;
      emit(began, ended, seen[most], stacks[most]);
    }
    rowStart[row + 1] = length;
  }
  return {
    ...lane,
    rowStart,
    start: start.slice(0, length),
    end: end.slice(0, length),
    func: func.slice(0, length) as unknown as Lane['func'],
    stack: stack.slice(0, length) as unknown as Lane['stack'],
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

/** The span of a row at an instant, or -1. */
export function spanAt(lane: Pick<Lane, 'rows' | 'rowStart' | 'start' | 'end'>, row: number, time: number): number {
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
