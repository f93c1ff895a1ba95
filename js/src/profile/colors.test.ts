import { describe, expect, it } from 'vitest';
import { profileOf } from '../../test/profiles';
import { type ColorMode, contrast, makePainter, oklch, SCHEMES } from './colors';
import { asDifference } from './difference';
import { buildTree } from './tree';

const P = '/v/site-packages/';

function painted(
  mode: Exclude<ColorMode, 'waits'>,
  dark = false,
): { color: (name: string) => string; palette: readonly (readonly [number, number, number])[] } {
  const { profile, names, func } = profileOf([
    { calls: ['<module>@In [1]', `fit@${P}sklearn/a.py`, `*dot@${P}numpy/b.so`, '*memcpy@/lib/libc.so.6'], weight: 50 },
    { calls: ['<module>@In [1]', `agg@${P}pandas/a.py`, 'loads@/usr/lib/python3.11/json/__init__.py'], weight: 5 },
    { calls: ['<module>@In [1]', 'mine@/home/me/x.py'], weight: 1 },
  ]);
  const tree = buildTree(profile, names);
  const painter = makePainter(mode, dark, profile, names, tree);
  const color = (name: string): string => {
    const node = Array.from(tree.key).indexOf(func(name));
    return painter.palette[painter.row(node)].join();
  };
  for (let node = 0; node < tree.length; node++) painter.row(node);
  return { color, palette: painter.palette };
}

describe('oklch', () => {
  it('meets known sRGB colours', () => {
    expect(oklch(1, 0, 0)).toEqual([255, 255, 255]);
    expect(oklch(0, 0, 0)).toEqual([0, 0, 0]);
    expect(oklch(0.62796, 0.25768, 29.234)).toEqual([255, 0, 0]);
    expect(oklch(0.45201, 0.31321, 264.052)).toEqual([0, 0, 255]);
  });
});

describe('contrast', () => {
  it('meets the WCAG extremes', () => {
    expect(contrast([0, 0, 0], [255, 255, 255])).toBeCloseTo(21, 5);
    expect(contrast([119, 119, 119], [255, 255, 255])).toBeCloseTo(4.48, 2);
  });
});

describe('painters', () => {
  it.each(['module', 'kind', 'self', 'diff'] as const)(
    '%s: labels stay readable on every colour, light and dark',
    (mode) => {
      for (const dark of [false, true]) {
        const scheme = SCHEMES[dark ? 'dark' : 'light'];
        for (const rgb of [...painted(mode, dark).palette, scheme.rest, scheme.unmatched, scheme.root, scheme.thread]) {
          expect(contrast(scheme.text, rgb), `${mode} ${dark} ${rgb}`).toBeGreaterThan(5);
          expect(contrast(scheme.dimText, rgb), `${mode} ${dark} ${rgb} dim`).toBeGreaterThan(4.5);
        }
      }
    },
  );

  it('gives every package its own colour, and keeps user code apart', () => {
    const { color } = painted('module');
    expect(new Set(['fit', 'dot', 'agg', 'loads', '<module>', 'mine'].map(color)).size).toBe(6);
  });

  it('keeps the colours of a few packages well apart', () => {
    const samples = Array.from({ length: 8 }, (_, i) => ({ calls: [`f${i}@${P}package_${i}/a.py`] }));
    const { profile, names } = profileOf(samples);
    const tree = buildTree(profile, names);
    const painter = makePainter('module', false, profile, names, tree);
    const colors = Array.from({ length: 8 }, (_, i) => painter.palette[painter.row(i + 1)]);
    for (let i = 0; i < 8; i++) {
      for (let j = 0; j < i; j++) {
        const distance = Math.hypot(...colors[i].map((channel, k) => channel - colors[j][k]));
        expect(distance, `${i} and ${j}`).toBeGreaterThan(15);
      }
    }
  });

  it('tells native from Python', () => {
    const { color } = painted('kind');
    expect(color('dot')).not.toBe(color('fit'));
  });

  it('makes self time stand out', () => {
    const { color, palette } = painted('self');
    expect(color('memcpy')).not.toBe(color('fit'));
    expect(palette.length).toBeGreaterThan(10);
  });

  it('tells more from less from same in a difference', () => {
    const {
      profile: both,
      names,
      func,
    } = profileOf([
      { calls: ['grew'], weight: 10, thread: 'before: M' },
      { calls: ['shrank'], weight: 30, thread: 'before: M' },
      { calls: ['same'], weight: 7, thread: 'before: M' },
      { calls: ['grew'], weight: 30, thread: 'after: M' },
      { calls: ['shrank'], weight: 10, thread: 'after: M' },
      { calls: ['same'], weight: 7, thread: 'after: M' },
    ]);
    const tree = buildTree(asDifference(both), names);
    const painter = makePainter('diff', false, both, names, tree);
    const [grew, shrank, same] = ['grew', 'shrank', 'same'].map(
      (name) => painter.palette[painter.row(Array.from(tree.key).indexOf(func(name)))],
    );
    expect(grew[0]).toBeGreaterThan(grew[2]);
    expect(shrank[2]).toBeGreaterThan(shrank[0]);
    expect(Math.abs(same[0] - same[2])).toBeLessThan(10);
  });
});
