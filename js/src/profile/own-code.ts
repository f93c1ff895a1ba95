// Owns the profile as its author wrote it: what libraries do belongs to the line that called them.
// `_profile/own_code.py` has the same rule; tests/examples holds both to the same answers.
import { NATIVE, type Profile } from './container';
import { place } from './names';
import { type FrameRow, type FuncRow, rowsOf, type SampleRow, type StackRow, type Writable } from './rows';

/** Code that came from no file, and is nobody else's. */
const TYPED = ['<string>', '<stdin>'];

/** Without frames of libraries; the same object where there are none. A sample of nothing else keeps its outermost. */
export function onlyOwn(profile: Profile): Profile {
  const { funcFile, funcFlags, strings, frameFunc, stackParent, stackFrame, sampleStack } = profile;
  const own = new Uint8Array(funcFile.length);
  for (const func of rowsOf<FuncRow>(funcFile.length)) {
    const file = strings.get(funcFile[func]);
    const { origin } = place(file, (funcFlags[func] & NATIVE) !== 0);
    own[func] = TYPED.includes(file) || origin === 'cell' || origin === 'file' ? 1 : 0;
  }
  if (own.every((each) => each === 1)) return profile;
  const parents: number[] = [];
  const frames: number[] = [];
  const rows = new Map<number, number>();
  const row = (parent: number, frame: FrameRow): number => {
    const key = (parent + 1) * frameFunc.length + frame;
    let at = rows.get(key);
    if (at === undefined) {
      at = parents.push(parent) - 1;
      frames.push(frame);
      rows.set(key, at);
    }
    return at;
  };
  const placed = new Int32Array(stackFrame.length);
  const outermost = new Uint32Array(stackFrame.length) as unknown as Writable<StackRow, FrameRow>;
  for (const stack of rowsOf<StackRow>(stackFrame.length)) {
    const parent = stackParent[stack];
    const above = parent >= 0 ? placed[parent] : -1;
    const frame = stackFrame[stack];
    outermost[stack] = parent >= 0 ? outermost[parent] : frame;
    placed[stack] = own[frameFunc[frame]] ? row(above, frame) : above;
  }
  const samples = new Uint32Array(sampleStack.length);
  for (const at of rowsOf<SampleRow>(sampleStack.length)) {
    const stack = sampleStack[at];
    samples[at] = placed[stack] >= 0 ? placed[stack] : row(-1, outermost[stack]);
  }
  return {
    ...profile,
    stackParent: Int32Array.from(parents) as unknown as Profile['stackParent'],
    stackFrame: Uint32Array.from(frames) as unknown as Profile['stackFrame'],
    sampleStack: samples as unknown as Profile['sampleStack'],
  };
}
