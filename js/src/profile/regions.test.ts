import { describe, expect, it } from 'vitest';
import { profileOf, type TestSample } from '../../test/profiles';
import { buildRegionLane } from './region-lanes';
import { regionChoices, regionsOf } from './regions';
import type { ThreadRow } from './rows';
import { buildTree, WHOLE } from './tree';

const A = ['region=request', 'path=/a'];
const B = ['region=request', 'path=/b'];
const SAMPLES: TestSample[] = [
  { calls: ['f'], weight: 10, time: 10 },
  { calls: ['f'], weight: 20, time: 30, labels: A },
  { calls: ['g'], weight: 30, time: 60, labels: [...A, 'region=query'] },
  { calls: ['f'], weight: 40, time: 100, labels: B },
  { calls: ['f'], weight: 5, time: 5, labels: ['region=load'], thread: 'second' },
];

describe('regions', () => {
  it('are called by their names and their own labels', () => {
    const { profile } = profileOf(SAMPLES);
    const { texts, chain } = regionsOf(profile);
    const innermost = profile.sampleLabel?.[2 as never] as number;
    expect(chain[innermost as never].map((row) => texts[row])).toEqual(['request path=/a', 'query']);
  });

  it('may be chosen by name and one by one, those with most time first', () => {
    expect(regionChoices(profileOf(SAMPLES).profile)).toEqual([
      { region: 'request', depth: 0, weight: 90 },
      { region: 'request path=/a', depth: 1, weight: 50 },
      { region: 'request path=/b', depth: 1, weight: 40 },
      { region: 'query', depth: 0, weight: 30 },
      { region: 'load', depth: 0, weight: 5 },
    ]);
    expect(regionChoices(profileOf([{ calls: ['f'] }]).profile)).toEqual([]);
  });

  it('count once where one is within its like', () => {
    const { profile } = profileOf([{ calls: ['f'], weight: 7, labels: ['region=walk', 'region=walk'] }]);
    expect(regionChoices(profile)).toEqual([{ region: 'walk', depth: 0, weight: 7 }]);
  });

  it.each([
    ['request', 90],
    ['request path=/a', 50],
    ['query', 30],
    ['load', 5],
    ['nothing', 0],
  ])('filter a tree: %s', (region, total) => {
    const { profile, names } = profileOf(SAMPLES);
    expect(buildTree(profile, names, { ...WHOLE, region }).total[0]).toBe(total);
  });

  it('leave nothing of a profile without any', () => {
    const { profile, names } = profileOf([{ calls: ['f'] }]);
    expect(buildTree(profile, names, { ...WHOLE, region: 'load' }).total[0]).toBe(0);
  });
});

describe('regions in time', () => {
  function lane(samples: TestSample[], thread = 0): string[][] | null {
    const { profile } = profileOf(samples, { interval_ns: 10 });
    const built = buildRegionLane(profile, thread as ThreadRow);
    if (!built) return null;
    const { texts } = regionsOf(profile);
    return Array.from({ length: built.rows }, (_, row) =>
      Array.from({ length: built.rowStart[row + 1] - built.rowStart[row] }, (__, i) => {
        const span = built.rowStart[row] + i;
        return `${texts[built.region[span]]} ${built.start[span]}-${built.end[span]}`;
      }),
    );
  }

  it('are as long as the samples within, the inner below the outer', () => {
    expect(lane(SAMPLES)).toEqual([['request path=/a 10-60', 'request path=/b 60-100'], ['query 30-60']]);
  });

  it('are those of the thread', () => {
    expect(lane(SAMPLES, 1)).toEqual([['load 0-5']]);
    expect(lane([{ calls: ['f'] }])).toBeNull();
  });

  it('end where the thread used no time', () => {
    expect(
      lane([
        { calls: ['f'], weight: 10, time: 10, labels: ['region=a'] },
        { calls: ['f'], weight: 10, time: 100, labels: ['region=a'] },
      ]),
    ).toEqual([['a 0-10', 'a 90-100']]);
  });

  it('of interleaved coroutines are apart', () => {
    const turn = (i: number): TestSample => ({
      calls: ['f'],
      time: 10 * (i + 1),
      labels: ['region=job', `number=${i % 2}`],
    });
    expect(lane([0, 1, 2].map(turn))).toEqual([['job number=0 0-10', 'job number=1 10-20', 'job number=0 20-30']]);
  });
});
