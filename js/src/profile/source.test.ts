import { describe, expect, it } from 'vitest';
import { profileOf } from '../../test/profiles';
import type { ThreadRow } from './rows';
import { lineTimes } from './source';
import { WHOLE } from './tree';

describe('lineTimes', () => {
  it('gives each line its own and its total time, recursion once', () => {
    const { profile, func } = profileOf([
      { calls: ['main@a.py:1', 'fib@a.py:5', 'fib@a.py:5', 'fib@a.py:3'], weight: 8 },
      { calls: ['main@a.py:1', 'fib@a.py:5'], weight: 2 },
      { calls: ['main@a.py:2', 'other@b.py:9'], weight: 4 },
    ]);
    expect(Object.fromEntries(lineTimes(profile, profile.funcFile[func('fib')], WHOLE))).toEqual({
      1: { self: 0, total: 10 },
      2: { self: 0, total: 4 },
      3: { self: 8, total: 8 },
      5: { self: 2, total: 10 },
    });
    expect(Object.fromEntries(lineTimes(profile, profile.funcFile[func('other')], WHOLE))).toEqual({
      9: { self: 4, total: 4 },
    });
  });

  it('keeps to the threads asked for', () => {
    const { profile, func } = profileOf([
      { calls: ['f@a.py:1'], weight: 8, thread: 'x' },
      { calls: ['f@a.py:1'], weight: 3, thread: 'y' },
    ]);
    expect(
      lineTimes(profile, profile.funcFile[func('f')], { ...WHOLE, threads: new Set([1 as ThreadRow]) }).get(1)?.self,
    ).toBe(3);
  });
});
