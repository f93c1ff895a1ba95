import { describe, expect, it } from 'vitest';
import { profileOf, type TestSample } from '../../test/profiles';
import { notesOf } from './notes';

const MS = 1_000_000;
const notes = (samples: TestSample[], meta: Record<string, unknown>): string[] =>
  notesOf(profileOf(samples, meta).profile).map(({ text, warning }) => `${warning ? '! ' : ''}${text}`);
const run = (count: number, each = 10): TestSample[] => [{ calls: ['f'], count, weight: count * each * MS }];

describe('notesOf', () => {
  it('says how much of what was measured', () => {
    expect(
      notes(run(100), { mode: 'cpu', duration_ns: 2000 * MS, interval_ns: 10 * MS, python_version: '3.11.7' }),
    ).toEqual(['100 samples, 1 s CPU time over 2 s', 'Python 3.11.7']);
  });

  it('says what was found in place of how much, where somebody looked', () => {
    const { profile } = profileOf(run(100), { python_version: '3.11.7' });
    const found = { ...profile, findings: ['1 s CPU time in 2 s', '61% in parse()'] };
    expect(notesOf(found).map(({ text }) => text)).toEqual(['1 s CPU time in 2 s', '61% in parse()', 'Python 3.11.7']);
    expect(profile.findings).toEqual([]);
  });

  it('warns of dropped samples with their share', () => {
    expect(notes(run(99), { interval_ns: 10 * MS, dropped_count: 1 })).toContain('! 1 sample dropped (1 %)');
  });

  it('warns where the rate was not reached, and only then', () => {
    expect(notes(run(100, 40), { interval_ns: 10 * MS }).join()).toContain(
      'rate not reached: a sample every 40 ms, asked for every 10 ms',
    );
    expect(notes(run(100, 11), { interval_ns: 10 * MS }).join()).not.toContain('rate');
    // Weights that only count samples say nothing of the rate.
    expect(notes(run(100, 40), { interval_ns: 10 * MS, weights: 'samples' }).join()).not.toContain('rate');
  });

  it('passes on what the profiler noted', () => {
    expect(notes(run(1), { notes: ['timers were refused'] })).toContain('! timers were refused');
    expect(notes([{ calls: ['f'], time: -1, count: 3, weight: 3 }], {}).join()).toContain('! 3 samples without a time');
    expect(notes([], {})).toContain('! No samples: nothing ran long enough to be seen');
  });
});
