// Owns the Speedscope file made in the browser: one sampled profile a thread, weights in nanoseconds.
import type { Profile } from './container';
import { type FuncRow, rowsOf, type SampleRow, type StackRow } from './rows';

interface SpeedscopeFrame {
  name: string;
  file?: string;
  line?: number;
}

interface SampledProfile {
  type: 'sampled';
  name: string;
  unit: 'nanoseconds';
  startValue: number;
  endValue: number;
  samples: number[][];
  weights: number[];
}

export interface SpeedscopeFile {
  $schema: string;
  name: string;
  exporter: string;
  activeProfileIndex: number;
  shared: { frames: SpeedscopeFrame[] };
  profiles: SampledProfile[];
}

/** Frames are functions, so that one function is one name in every Speedscope view. */
export function toSpeedscope(profile: Profile, name: string): SpeedscopeFile {
  const { strings, funcName, funcFile, funcLine, stackParent, stackFrame, frameFunc } = profile;
  const frames = Array.from(rowsOf<FuncRow>(funcName.length), (func): SpeedscopeFrame => {
    const file = strings.get(funcFile[func]);
    return {
      name: strings.get(funcName[func]) || '(unnamed)',
      ...(file ? { file } : {}),
      ...(funcLine[func] > 0 ? { line: funcLine[func] } : {}),
    };
  });
  const paths: (number[] | undefined)[] = [];
  const pathOf = (stack: StackRow): number[] => {
    const known = paths[stack];
    if (known) return known;
    const path: number[] = [];
    for (let at = stack; at >= 0; at = stackParent[at]) path.push(frameFunc[stackFrame[at]]);
    return (paths[stack] = path.reverse());
  };
  const profiles = profile.threads.map(
    (thread): SampledProfile => ({
      type: 'sampled',
      name: thread.name || `thread ${thread.tid}`,
      unit: 'nanoseconds',
      startValue: 0,
      endValue: 0,
      samples: [],
      weights: [],
    }),
  );
  for (let row = 0 as SampleRow; row < profile.sampleStack.length; row++) {
    const of = profiles[profile.sampleThread[row]];
    of.samples.push(pathOf(profile.sampleStack[row]));
    of.weights.push(profile.sampleWeight[row]);
    of.endValue += profile.sampleWeight[row];
  }
  const used = profiles.filter(({ samples }) => samples.length > 0);
  // Speedscope opens no file without a profile in it.
  if (used.length === 0)
    used.push({
      type: 'sampled',
      name: 'no samples',
      unit: 'nanoseconds',
      startValue: 0,
      endValue: 0,
      samples: [],
      weights: [],
    });
  const busiest = used.reduce((best, { endValue }, i) => (endValue > used[best].endValue ? i : best), 0);
  return {
    $schema: 'https://www.speedscope.app/file-format-schema.json',
    name,
    exporter: 'spprof',
    activeProfileIndex: busiest,
    shared: { frames },
    profiles: used,
  };
}
