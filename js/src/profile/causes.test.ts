import { describe, expect, it } from 'vitest';
import { profileOf } from '../../test/profiles';
import { doingColor, doingPainter } from './cause-colors';
import { DOINGS, doingsOf, hasWaits, mostOf, timeByDoing } from './causes';
import { contrast, SCHEMES } from './colors';
import { buildTree, invertTree, type TreeOptions, WHOLE } from './tree';

/** `sample.state` of a sample that waits for the cause of this number. */
const waits = (cause: number): number => 1 | (cause << 5);
const [GIL, LOCK, SLEEP] = [1, 2, 3];

const SAMPLES = [
  { calls: ['main', 'work'], weight: 10 },
  { calls: ['main', 'work'], weight: 30, state: waits(GIL) },
  { calls: ['main', 'nap'], weight: 50, state: waits(SLEEP) },
  { calls: ['main', 'nap'], weight: 5, state: waits(0) },
  { calls: ['other'], weight: 5, state: waits(LOCK), thread: 'second' },
];

function tree(options: Partial<TreeOptions> = {}) {
  const { profile, names, func } = profileOf(SAMPLES);
  const all = { ...WHOLE, ...options };
  const built = buildTree(profile, names, all);
  const node = (name: string): number => Array.from(built.key).indexOf(func(name));
  return { profile, func, built, node, doings: doingsOf(profile, built, all), all };
}

describe('what threads did', () => {
  it('is told of each sample, whatever the other filters are', () => {
    const { profile } = tree();
    expect(timeByDoing(profile, WHOLE)).toEqual([10, 5, 30, 5, 50, 0, 0, 0, 0]);
    expect(timeByDoing(profile, { ...WHOLE, doing: 2, runningOnly: true })).toEqual([10, 5, 30, 5, 50, 0, 0, 0, 0]);
    expect(timeByDoing(profile, { ...WHOLE, threads: new Set([1 as never]) })).toEqual([0, 0, 0, 5, 0, 0, 0, 0, 0]);
    expect(hasWaits(profile)).toBe(true);
    expect(hasWaits(profileOf([{ calls: ['f'] }]).profile)).toBe(false);
  });

  it('filters a tree', () => {
    const gil = tree({ doing: 2 });
    expect(gil.built.total[0]).toBe(30);
    expect(gil.node('nap')).toBe(-1);
    expect(tree({ doing: 0 }).built.total[0]).toBe(10);
    expect(tree({ doing: 1 }).built.total[0]).toBe(5);
  });

  it('is known of each node with all below it', () => {
    const { doings, node } = tree();
    expect(doings(node('main'))).toEqual([10, 5, 30, 0, 50, 0, 0, 0, 0]);
    expect(doings(node('work'))).toEqual([10, 0, 30, 0, 0, 0, 0, 0, 0]);
    expect(mostOf(doings(node('work')))).toEqual({ doing: 2, share: 0.75 });
  });

  it('is that of its thread where threads are apart', () => {
    const { profile, names } = profileOf([
      { calls: ['f'], weight: 10, thread: 'a' },
      { calls: ['f'], weight: 10, thread: 'b', state: waits(LOCK) },
    ]);
    const options = { ...WHOLE, split: true };
    const built = buildTree(profile, names, options);
    const doings = doingsOf(profile, built, options);
    const of = Array.from(built.key.keys())
      .filter((node) => built.key[node] === 0)
      .map((node) => mostOf(doings(node)).doing);
    expect(of.sort()).toEqual([0, 3]);
  });

  it('is that of the function where a tree does not know its stacks', () => {
    const { profile, built, all, func } = tree();
    const turned = invertTree(built);
    const doings = doingsOf(profile, turned, all);
    const node = Array.from(turned.key).indexOf(func('work'));
    expect(doings(node)[2]).toBe(30);
  });

  it('is running where there is no time', () => {
    expect(mostOf([0, 0, 0])).toEqual({ doing: 0, share: 1 });
  });
});

describe('colours of what threads did', () => {
  it.each([false, true])('labels stay readable, and no two are alike (dark: %s)', (dark) => {
    const { built, doings } = tree();
    const { palette } = doingPainter(dark, built, doings);
    const scheme = SCHEMES[dark ? 'dark' : 'light'];
    for (const rgb of palette) {
      expect(contrast(scheme.text, rgb), `${rgb}`).toBeGreaterThan(5);
      expect(contrast(scheme.dimText, rgb), `${rgb} dim`).toBeGreaterThan(4.5);
    }
    const full = DOINGS.map((_, doing) => doingColor(doing, dark));
    full.forEach((one, i) => {
      for (const other of full.slice(0, i)) {
        expect(Math.hypot(...one.map((channel, k) => channel - other[k])), `${one} ${other}`).toBeGreaterThan(15);
      }
    });
  });

  it('are those of what took most', () => {
    const { built, doings, node } = tree();
    const painter = doingPainter(false, built, doings);
    const color = (name: string): string => painter.palette[painter.row(node(name))].join();
    expect(color('nap')).toBe(doingColor(4, false).join());
    expect(color('work')).toBe(doingColor(2, false, 0.7).join());
    expect(painter.palette[painter.row(0)]).toBe(SCHEMES.light.root);
    expect(color('other')).toBe(doingColor(3, false).join());
  });
});
