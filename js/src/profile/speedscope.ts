// Owns the Speedscope file made in the browser. It is the same document as `formats/speedscope.py` writes: one
// sampled profile a thread, and what Speedscope does not provide for in additional keys, which it ignores.
import { type Meta, NATIVE, type Profile, type Thread } from './container';
import { severalProcesses, threadLabel } from './labels';
import { type FrameRow, rowsOf, type SampleRow, type StackRow } from './rows';

interface SpeedscopeFrame {
  name: string;
  file?: string;
  line?: number;
  /** The line is that of the definition, not the one executed. */
  definition?: true;
  native?: true;
}

interface SampledProfile {
  type: 'sampled';
  name: string;
  unit: 'nanoseconds';
  startValue: number;
  endValue: number;
  thread?: Thread;
  samples: number[][];
  weights: number[];
  /** Samples in each run, where not all are single ones. */
  counts?: number[];
}

/** What comes back when the file is read again. */
const KEPT_META = [
  'start_time',
  'end_time',
  'duration_ns',
  'interval_ns',
  'mode',
  'engine',
  'weights',
  'dropped_count',
  'python_version',
  'platform',
  'notes',
  'modules',
] as const;

export interface SpeedscopeFile {
  $schema: string;
  exporter: string;
  name: string;
  activeProfileIndex: number;
  spprof: Pick<Meta, (typeof KEPT_META)[number]>;
  shared: { frames: SpeedscopeFrame[] };
  profiles: SampledProfile[];
}

const EMPTY: SampledProfile = {
  type: 'sampled',
  name: 'no samples',
  unit: 'nanoseconds',
  startValue: 0,
  endValue: 0,
  samples: [],
  weights: [],
};

/** Speedscope's frames are functions, so that one function is one name in all its views. */
function frameTable(profile: Profile): { frames: SpeedscopeFrame[]; indexOf: (frame: FrameRow) => number } {
  const { strings, funcName, funcFile, funcLine, funcFlags, frameFunc, frameLine } = profile;
  const frames: SpeedscopeFrame[] = [];
  const known = new Map<string, number>();
  const indices = Array.from(rowsOf<FrameRow>(frameFunc.length), (row) => {
    const func = frameFunc[row];
    const native = (funcFlags[func] & NATIVE) !== 0;
    // Without its first line a Python function is only known by where it executes; a native one is known by its name.
    const line = funcLine[func] || (native ? 0 : frameLine[row]);
    const key = `${func}:${line}`;
    let index = known.get(key);
    if (index === undefined) {
      const file = strings.get(funcFile[func]);
      index = frames.push({
        name: strings.get(funcName[func]) || '(unnamed)',
        ...(file ? { file } : {}),
        ...(line > 0 ? { line } : {}),
        ...(line > 0 && funcLine[func] ? { definition: true } : {}),
        ...(native ? { native } : {}),
      });
      known.set(key, --index);
    }
    return index;
  });
  return { frames, indexOf: (frame) => indices[frame] };
}

export function toSpeedscope(profile: Profile, name?: string): SpeedscopeFile {
  const { meta, threads, stackParent, stackFrame } = profile;
  const { sampleThread, sampleStack, sampleWeight, sampleCount, sampleBaseline } = profile;
  const { frames, indexOf } = frameTable(profile);
  const paths: (number[] | undefined)[] = [];
  const pathOf = (stack: StackRow): number[] => {
    const known = paths[stack];
    if (known) return known;
    const path: number[] = [];
    for (let at = stack; at >= 0; at = stackParent[at]) path.push(indexOf(stackFrame[at]));
    return (paths[stack] = path.reverse());
  };
  const several = severalProcesses(threads);
  const made = threads.map((thread) => ({
    ...EMPTY,
    name: threadLabel(thread, several),
    thread,
    samples: [] as number[][],
    weights: [] as number[],
    counts: [] as number[],
  }));
  let runs = false;
  for (let row = 0 as SampleRow; row < sampleStack.length; row++) {
    // Of a difference, what is there after it.
    if (sampleBaseline && sampleCount[row] === 0) continue;
    const of = made[sampleThread[row]];
    of.samples.push(pathOf(sampleStack[row]));
    of.weights.push(sampleWeight[row]);
    of.counts.push(sampleCount[row]);
    of.endValue += sampleWeight[row];
    if (sampleCount[row] !== 1) runs = true;
  }
  const used: SampledProfile[] = made
    .filter(({ samples }) => samples.length > 0)
    .map(({ counts, ...rest }) => (runs ? { ...rest, counts } : rest));
  return {
    $schema: 'https://www.speedscope.app/file-format-schema.json',
    exporter: 'spprof',
    name: name ?? `Python profile of ${meta.start_time}`,
    activeProfileIndex: used.reduce((best, { endValue }, i) => (endValue > used[best].endValue ? i : best), 0),
    spprof: Object.fromEntries(KEPT_META.map((key) => [key, meta[key]])) as SpeedscopeFile['spprof'],
    shared: { frames },
    // Speedscope opens no file without a profile in it.
    profiles: used.length > 0 ? used : [EMPTY],
  };
}
