// @vitest-environment happy-dom
// Owns the comparison with Python: both languages must make the same of the shared examples.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { functionPainter } from '../src/profile/colors';
import { decode, type Profile } from '../src/profile/container';
import { fold } from '../src/profile/folding';
import { Names } from '../src/profile/names';
import { onlyOwn } from '../src/profile/own-code';
import { type FuncRow, rowsOf, type SampleRow } from '../src/profile/rows';
import { toSpeedscope } from '../src/profile/speedscope';
import { threadTimes } from '../src/profile/threads';
import { svgOf } from '../src/shell/export';
import { State } from '../src/state/state';

interface Truth {
  picture: unknown[][];
  folded?: { weight_ns: number; calls: string[] }[];
  own?: { weight_ns: number; calls: string[] }[];
  // A difference has a picture only.
  functions?: { name: string; title: string; module: string; group: string; light: number[]; dark: number[] }[];
  speedscope?: { exporter: string };
  threads?: { name: string; weight_ns: number; gil_share: number | null }[];
}

const FOLDER = join(import.meta.dirname, '..', '..', 'tests', 'examples');
const examples = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.spprof'))
  .map((name) => ({
    name: name.replace('.spprof', ''),
    container: Uint8Array.from(readFileSync(join(FOLDER, name))),
    truth: JSON.parse(readFileSync(join(FOLDER, name.replace('.spprof', '.json')), 'utf8')) as Truth,
  }));

/** By depth, then from left to right. */
const inOrder = (a: unknown[], b: unknown[]): number => Number(a[0]) - Number(b[0]) || Number(a[1]) - Number(b[1]);

/** Depth, left edge and width as shares of the whole, label, module, colour, hatched; see shared_examples.py. */
function pictureOf(container: Uint8Array<ArrayBuffer>, dark: boolean): unknown[][] {
  const state = new State();
  state.setData(container);
  state.setLook({ dark });
  const svg = new DOMParser().parseFromString(svgOf(state), 'image/svg+xml');
  const share = (pixels: string | null, margin: number): number =>
    Number(((Number(pixels) - margin) / 1184).toFixed(3));
  return Array.from(svg.querySelectorAll('g'), (group) => {
    const [box, ...hatching] = group.querySelectorAll('rect');
    const text = group.querySelector('text');
    return [
      (Number(box.getAttribute('y')) - 28) / 21,
      share(box.getAttribute('x'), 8),
      share(box.getAttribute('width'), 0),
      text?.firstChild?.textContent ?? '',
      text?.querySelector('tspan')?.textContent ?? '',
      (box.getAttribute('fill')?.match(/\d+/g) ?? []).map(Number),
      hatching.length > 0,
    ];
  });
}

/** Weight and calls of each run of samples, outermost first. */
function stacksOf(profile: Profile): { weight_ns: number; calls: string[] }[] {
  const { sampleStack, sampleWeight, stackParent, stackFrame, frameFunc, frameLine } = profile;
  const names = new Names(profile);
  return Array.from(rowsOf<SampleRow>(sampleStack.length), (row) => {
    const calls: string[] = [];
    for (let at = sampleStack[row]; at >= 0; at = stackParent[at]) {
      const func = frameFunc[stackFrame[at]];
      calls.unshift(`${names.name(func)} (${names.place(func).path}:${frameLine[stackFrame[at]]})`);
    }
    return { weight_ns: sampleWeight[row], calls };
  });
}

describe.each(examples)('$name', ({ container, truth }) => {
  const profile = decode(container);

  it.runIf(truth.threads)("tells each thread's time and share of the GIL", () => {
    const told = threadTimes(profile).map(({ weight, gilShare }, row) => ({
      name: profile.threads[row].name,
      weight_ns: weight,
      gil_share: gilShare,
    }));
    expect(told).toEqual(truth.threads);
  });

  it.runIf(truth.functions)('calls and colours each function the same', () => {
    const names = new Names(profile);
    const painters = [false, true].map((dark) => functionPainter('module', dark, profile, names));
    const told = Array.from(rowsOf<FuncRow>(profile.funcName.length), (func) => {
      const [light, dark] = painters.map(({ palette, row }) => palette[row(func)]);
      const { group } = names.place(func);
      const [name, title, module] = [names.name(func), names.title(func), names.module(func)];
      return { name, title, module, group, light, dark };
    });
    expect(told).toEqual(truth.functions);
  });

  it.runIf(truth.folded)('folds the same frames, unless all are wanted', () => {
    const { all, folded } = fold(profile);
    expect(stacksOf(folded)).toEqual(truth.folded);
    expect(stacksOf(all)).toEqual(stacksOf(profile));
  });

  it.runIf(truth.own)('leaves out the same libraries', () => {
    expect(stacksOf(onlyOwn(fold(profile).folded))).toEqual(truth.own);
  });

  it('draws the same picture', () => {
    const [light, dark] = [false, true].map((on) => pictureOf(container, on));
    const told = light.map((row, i) => [...row.slice(0, 6), dark[i][5], row[6]]);
    expect(told.sort(inOrder)).toEqual(truth.picture);
  });

  it.runIf(truth.speedscope)('is the same Speedscope document', () => {
    expect({ ...toSpeedscope(profile, 'An example'), exporter: '' }).toEqual(truth.speedscope);
  });
});

it('has examples', () => expect(examples.length).toBeGreaterThan(2));
