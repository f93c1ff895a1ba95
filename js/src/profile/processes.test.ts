import { describe, expect, it } from 'vitest';
import type { Profile, Thread } from './container';
import { isOf, processTree, roleChoices } from './processes';
import type { ThreadRow } from './rows';
import type { ThreadTimes } from './threads';

const thread = (name: string, pid: number, tid = pid, host = ''): Thread => ({ name, pid, tid, host });

function profile(threads: Thread[], made: [pid: number, ppid: number, host?: string][]): Profile {
  const processes = made.map(([pid, ppid, host = '']) => ({ pid, ppid, host }));
  return { threads, meta: { processes } } as unknown as Profile;
}

const times = (...weights: number[]): ThreadTimes[] => weights.map((weight) => ({ weight, waited: 0, gilShare: null }));

const POOL = profile(
  [
    thread('MainThread', 1),
    thread('Worker-1', 2),
    thread('Worker-2', 3),
    thread('Worker-1: feeder', 2, 20),
    thread('child.py', 4),
    thread('feeder', 1, 10),
  ],
  [
    [1, 0],
    [2, 1],
    [3, 1],
    [4, 3],
  ],
);
const TIMES = times(1, 10, 50, 20, 5, 2);

describe('processTree', () => {
  it('has each process before those that it made, the busiest first', () => {
    expect(processTree(POOL, TIMES)).toMatchObject([
      { label: 'MainThread · pid 1', depth: 0, threads: [5, 0], weight: 3 },
      { label: 'Worker-2 · pid 3', depth: 1, threads: [2], weight: 50 },
      { label: 'child.py · pid 4', depth: 2, threads: [4], weight: 5 },
      { label: 'Worker-1 · pid 2', depth: 1, threads: [3, 1], weight: 30 },
    ]);
  });

  it('is one process where there is one', () => {
    expect(processTree(profile([thread('MainThread', 1), thread('poll', 1, 2)], []), times(1, 2))).toHaveLength(1);
  });

  it('is of as many processes where nobody says who made whom', () => {
    const found = processTree(profile([thread('a', 1), thread('b', 2)], []), times(1, 2));
    expect(found.map(({ depth }) => depth)).toEqual([0, 0]);
  });

  it('tells machines apart, and ends where numbers are in a circle', () => {
    const several = profile(
      [thread('a', 1), thread('b', 1, 1, 'node7'), thread('c: io', 2, 9, 'node7')],
      [
        [1, 2, 'node7'],
        [2, 1, 'node7'],
        [1, 0],
      ],
    );
    const found = processTree(several, times(1, 2, 3));
    expect(found.map(({ label }) => label).sort()).toEqual(['a · pid 1', 'b · node7 pid 1', 'c · node7 pid 2']);
  });
});

describe('roleChoices', () => {
  it('puts those together that differ in a number', () => {
    expect(roleChoices(processTree(POOL, TIMES))).toMatchObject([
      { label: '2 × Worker', threads: [2, 3, 1], weight: 80 },
    ]);
  });
});

describe('isOf', () => {
  it('knows the threads of a choice in any order', () => {
    const [own] = processTree(POOL, TIMES);
    expect(isOf(own, new Set([5, 0] as ThreadRow[]))).toBe(true);
    expect(isOf(own, new Set([0] as ThreadRow[]))).toBe(false);
    expect(isOf(own, new Set([0, 1] as ThreadRow[]))).toBe(false);
  });
});
