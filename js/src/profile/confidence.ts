// Owns how far shares and their changes can be trusted. The model, its sources and its tests stand in
// `src/spprof/_profile/confidence.py`; `test/confidence.json` holds both to the same answers.
import type { Profile } from './container';
import { type FrameRow, type FuncRow, rowsOf, type SampleRow, type StackRow } from './rows';

const Z = 1.959963984540054;
const WINDOWS = 20;
const LEAST_IN_WINDOW = 25;
const MOST_WINDOWS = 40;
const MOST_RUNS = 200;
const STEPS = 60;
/** An interval is said where it reaches further to one side. */
const WIDE = 0.05;
/** Of differences: how often a word about one is wrong, and the fewest effective samples that tell of one. */
const LEVEL = 0.05;
const LEAST_TO_TEST = 10;

export type Interval = readonly [low: number, high: number];

/** Wilson's interval of a share that was found in so many effective samples. */
export function wilson(share: number, effective: number): Interval {
  if (effective <= 0) return [0, 1];
  const part = (Z * Z) / effective;
  const middle = (share + part / 2) / (1 + part);
  const reach = (Z * Math.sqrt((share * (1 - share)) / effective + part / (4 * effective))) / (1 + part);
  return [Math.max(0, Math.min(share, middle - reach)), Math.min(1, Math.max(share, middle + reach))];
}

/** `48–72 %` where a reader should know of it, else nothing. */
export function intervalText(share: number, effective: number): string {
  const [low, high] = wilson(share, effective);
  if (share <= 0 || share >= 1 || Math.max(share - low, high - share) <= WIDE) return '';
  return `${Math.round(low * 100)}–${Math.round(high * 100)} %`;
}

/** Runs of equal samples of one thread, in order of time. */
export interface Sequence {
  readonly runs: number[];
  readonly counts: number[];
}

/** By how much fewer independent samples would tell as much, of each number that is met; 1 where it is not there. */
export function designEffects(
  sequences: readonly Sequence[],
  members: (run: number) => readonly number[],
): Map<number, number> {
  const seen = new Map<number, number>();
  const varied = new Map<number, number>();
  const expected = new Map<number, number>();
  const changes = new Map<number, number>();
  const add = (sums: Map<number, number>, of: number, amount: number): void => {
    sums.set(of, (sums.get(of) ?? 0) + amount);
  };
  let whole = 0;
  let windows = 0;
  for (const window of windowsOf(sequences)) {
    const size = window.counts.reduce((sum, count) => sum + count, 0);
    whole += size;
    windows++;
    const ofRun = new Map<number, number>();
    window.runs.forEach((run, i) => {
      add(ofRun, run, window.counts[i]);
      const before = i > 0 ? window.runs[i - 1] : run;
      if (before === run) return;
      const [old, now] = [members(before), members(run)];
      for (const each of old) if (!now.includes(each)) add(changes, each, 1);
      for (const each of now) if (!old.includes(each)) add(changes, each, 1);
    });
    const met = new Map<number, number>();
    for (const [run, count] of ofRun) for (const each of members(run)) add(met, each, count);
    for (const [each, count] of met) {
      add(seen, each, count);
      const mixed = count * (size - count);
      if (mixed > 0) {
        add(varied, each, mixed / (size - 1));
        add(expected, each, (2 * mixed) / size);
      }
    }
  }
  const effects = new Map<number, number>();
  const chain = chainOf(whole / Math.max(1, windows));
  for (const [each, amount] of varied) {
    const count = seen.get(each) ?? 0;
    const independent = (count * (whole - count)) / whole;
    const rate = (changes.get(each) ?? 0) / (expected.get(each) ?? 1);
    effects.set(each, Math.max(1, (amount / independent) * chain(rate)));
  }
  return effects;
}

/** By how much a mean varies more than what varies within windows tells, from how often it changed there. */
function chainOf(length: number): (rate: number) => number {
  const most = Math.max(0, (length - 2) / (length + 2));
  const steps = Array.from({ length: STEPS + 1 }, (_, step) => {
    const r = most * (1 - step / STEPS);
    const long = (1 + r) / (1 - r);
    const ofMean = long - (2 * r * (1 - r ** length)) / (length * (1 - r) ** 2);
    const within = length > 1 ? 1 - (ofMean - 1) / (length - 1) : 1;
    return { rate: (1 - r) / within, effect: long / within };
  });
  return (rate) => (steps.find((step) => step.rate >= rate) ?? steps[STEPS]).effect;
}

function* windowsOf(sequences: readonly Sequence[]): Generator<Sequence> {
  const bounds: { sequence: Sequence; ends: number[]; begin: number; end: number }[] = [];
  for (const sequence of sequences) {
    let size = 0;
    const ends = sequence.counts.map((count) => (size += count));
    const length = Math.ceil(size / Math.max(1, Math.min(WINDOWS, Math.floor(size / LEAST_IN_WINDOW))));
    for (let begin = 0; begin < size; begin += length) {
      bounds.push({ sequence, ends, begin, end: Math.min(begin + length, size) });
    }
  }
  const step = Math.max(1, Math.ceil(bounds.length / MOST_WINDOWS));
  for (let i = 0; i < bounds.length; i += step) {
    const { sequence, ends, end } = bounds[i];
    let { begin } = bounds[i];
    let row = firstAfter(ends, begin);
    const window: Sequence = { runs: [], counts: [] };
    while (begin < end && window.runs.length < MOST_RUNS) {
      const until = Math.min(ends[row], end);
      window.runs.push(sequence.runs[row]);
      window.counts.push(until - begin);
      begin = until;
      row++;
    }
    yield window;
  }
}

function firstAfter(ends: readonly number[], at: number): number {
  let [low, high] = [0, ends.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ends[middle] <= at) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** How many independent samples tell of a profile's functions, for each sample that was taken. */
export interface Evidence {
  /** Of the share of time in the function itself. */
  ofSelf(func: FuncRow): number;
  /** With what it calls. */
  ofTotal(func: FuncRow): number;
}

/** Of a difference, one side of it. */
export function evidenceOf(profile: Profile, side: 'all' | 'before' | 'after' = 'all'): Evidence {
  const { sampleThread, sampleStack, sampleTime, sampleCount, sampleWeight, sampleBaseline, sampleBaselineCount } =
    profile;
  const { stackFrame, frameFunc, stackParent } = profile;
  const sequences = new Map<number, Sequence>();
  let [number, sum, squares] = [0, 0, 0];
  for (let row = 0 as SampleRow; row < sampleStack.length; row++) {
    const before = side === 'before';
    const count = (before ? sampleBaselineCount?.[row] : sampleCount[row]) ?? 0;
    const weight = (before ? sampleBaseline?.[row] : sampleWeight[row]) ?? 0;
    if (count === 0) continue;
    number += count;
    sum += weight;
    squares += (weight * weight) / count;
    if (sampleTime[row] < 0) continue;
    const thread = sampleThread[row];
    let sequence = sequences.get(thread);
    if (!sequence) sequences.set(thread, (sequence = { runs: [], counts: [] }));
    sequence.runs.push(sampleStack[row]);
    sequence.counts.push(count);
  }
  const equal = squares > 0 ? Math.min(1, (sum * sum) / squares / number) : 1;
  const all = [...sequences.values()];
  const leaf = (stack: number): number => frameFunc[stackFrame[stack as StackRow]];
  const known = new Map<number, number[]>();
  const functions = (stack: number): number[] => {
    let found = known.get(stack);
    if (!found) {
      const met = new Set<number>();
      for (let at = stack as StackRow; at >= 0; at = stackParent[at]) met.add(leaf(at));
      known.set(stack, (found = [...met]));
    }
    return found;
  };
  const self = designEffects(all, (stack) => [leaf(stack)]);
  const total = designEffects(all, functions);
  return {
    ofSelf: (func) => equal / (self.get(func) ?? 1),
    ofTotal: (func) => equal / (total.get(func) ?? 1),
  };
}

/** Functions of a difference whose share of the time, with what they call, changed by no more than noise. */
export function withinNoise(profile: Profile): Uint8Array {
  const { sampleStack, sampleCount, sampleWeight, sampleBaseline, sampleBaselineCount, stackFrame, frameFunc } =
    profile;
  const functions = profile.funcName.length;
  const quiet = new Uint8Array(functions).fill(1);
  if (!sampleBaseline || !sampleBaselineCount) return quiet.fill(0);
  const sides = [
    { evidence: evidenceOf(profile, 'before'), weights: sampleBaseline, counts: sampleBaselineCount },
    { evidence: evidenceOf(profile, 'after'), weights: sampleWeight, counts: sampleCount },
  ].map(({ evidence, weights, counts }) => {
    const times = new Float64Array(functions);
    let [whole, number] = [0, 0];
    const ofStack = new Float64Array(stackFrame.length);
    for (let row = 0 as SampleRow; row < sampleStack.length; row++) {
      ofStack[sampleStack[row]] += weights[row];
      whole += weights[row];
      number += counts[row];
    }
    for (const stack of rowsOf<StackRow>(stackFrame.length)) {
      if (ofStack[stack] === 0) continue;
      const met = new Set<FuncRow>();
      for (let at = stack; at >= 0; at = profile.stackParent[at]) met.add(frameFunc[stackFrame[at] as FrameRow]);
      for (const func of met) times[func] += ofStack[stack];
    }
    return { evidence, times, whole, number };
  });
  const [before, after] = sides;
  const tested: { func: FuncRow; p: number }[] = [];
  for (const func of rowsOf<FuncRow>(functions)) {
    const least = Math.min(before.evidence.ofTotal(func), after.evidence.ofTotal(func));
    const [n, m] = [before.number * least, after.number * least];
    if (n <= 0 || m <= 0) continue;
    const [old, now] = sides.map(({ times, whole }) => (whole > 0 ? times[func] / whole : 0));
    if (old * n + now * m < LEAST_TO_TEST) continue;
    tested.push({ func, p: twoProportions(old, now, n, m) });
  }
  tested.sort((a, b) => a.p - b.p);
  // Holm's method: the first that is not changed ends it.
  for (const [rank, { func, p }] of tested.entries()) {
    if (p * (tested.length - rank) >= LEVEL) break;
    quiet[func] = 0;
  }
  return quiet;
}

/** Probability of so large a change of a share, were there none; with Yates's correction. */
function twoProportions(before: number, after: number, n: number, m: number): number {
  const pooled = (before * n + after * m) / (n + m);
  const variance = pooled * (1 - pooled) * (1 / n + 1 / m);
  const amount = Math.max(0, Math.abs(after - before) - (1 / n + 1 / m) / 2);
  if (amount === 0) return 1;
  return variance > 0 ? complementaryError(amount / Math.sqrt(2 * variance)) : 0;
}

/** erfc for x of 0 and more; wrong by less than 1.2e-7 of its value (Numerical Recipes, erfcc). */
function complementaryError(x: number): number {
  const t = 1 / (1 + x / 2);
  const terms = [
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
    0.17087277,
  ];
  return t * Math.exp(-x * x + terms.reduceRight((sum, term) => sum * t + term, 0));
}
