import { describe, expect, it } from 'vitest';
import truth from '../../../tests/examples/confidence.json';
import { profileOf, type TestSample } from '../../test/profiles';
import { designEffects, evidenceOf, intervalText, wilson, withinNoise } from './confidence';
import { asDifference } from './difference';

describe('the model that Python has, too', () => {
  it.each(truth.wilson)('Wilson of $share and $effective', ({ share, effective, interval }) => {
    expect(wilson(share, effective)[0]).toBeCloseTo(interval[0], 9);
    expect(wilson(share, effective)[1]).toBeCloseTo(interval[1], 9);
  });

  it.each(truth.effects)('design effects of $name', ({ sequences, effects }) => {
    const found = designEffects(sequences, (run) => truth.members[run]);
    for (const [each, effect] of Object.entries(effects)) {
      expect(found.get(Number(each)) ?? 1).toBeCloseTo(effect, 9);
    }
  });
});

/** So many samples of `a` and `b` in a scattered order. */
const scattered = (a: number, b: number, thread: string): TestSample[] =>
  Array.from({ length: a + b }, (_, i) => ({
    calls: ['main', (i * 0.618034) % 1 < a / (a + b) ? 'a' : 'b'],
    thread,
    time: i,
  }));

describe('of profiles', () => {
  it('says an interval where it is wide, and only there', () => {
    expect(intervalText(0.6, 60)).toBe('47–71 %');
    expect(intervalText(0.6, 6000)).toBe('');
    expect(intervalText(1, 10)).toBe('');
  });

  it('counts samples in a row for less', () => {
    const alternating = profileOf(scattered(50, 50, 'M'));
    const burst = profileOf([...scattered(0, 40, 'M'), ...scattered(30, 0, 'M'), ...scattered(0, 30, 'M')]);
    expect(evidenceOf(alternating.profile).ofSelf(alternating.func('a'))).toBeGreaterThan(0.9);
    expect(evidenceOf(burst.profile).ofSelf(burst.func('a'))).toBeLessThan(0.3);
    expect(evidenceOf(burst.profile).ofTotal(burst.func('main'))).toBe(1);
  });

  it('tells changes from noise', () => {
    const changed = profileOf([...scattered(100, 400, 'before: M'), ...scattered(200, 300, 'after: M')]);
    const quiet = withinNoise(asDifference(changed.profile));
    expect(['a', 'b', 'main'].map((name) => quiet[changed.func(name)])).toEqual([0, 0, 1]);
    const same = profileOf([...scattered(100, 400, 'before: M'), ...scattered(112, 388, 'after: M')]);
    expect(Array.from(withinNoise(asDifference(same.profile)))).toEqual([1, 1, 1]);
    expect(Array.from(withinNoise(same.profile))).toEqual([0, 0, 0]);
  });
});
