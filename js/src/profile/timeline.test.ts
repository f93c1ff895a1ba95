import { describe, expect, it } from 'vitest';
import { profileOf, type TestSample } from '../../test/profiles';
import type { ThreadRow } from './rows';
import { buildLane, coarsen, gilOf, isWaiting, type Lane, rowOf, spanAt, timeExtent, visitSpans } from './timeline';

function lane(samples: TestSample[], interval = 10): { lane: Lane; rows: string[][] } {
  const { profile, names } = profileOf(samples, { interval_ns: interval });
  const built = buildLane(profile, 0 as ThreadRow);
  const rows = Array.from({ length: built.rows }, (_, row) =>
    Array.from({ length: built.rowStart[row + 1] - built.rowStart[row] }, (__, i) => {
      const span = built.rowStart[row] + i;
      return `${names.name(built.func[span])} ${built.start[span]}-${built.end[span]}`;
    }),
  );
  return { lane: built, rows };
}

describe('buildLane', () => {
  it('joins consecutive samples that share callers', () => {
    expect(
      lane([
        { calls: ['main', 'a'], time: 10 },
        { calls: ['main', 'a', 'x'], time: 20 },
        { calls: ['main', 'b'], time: 30 },
        { calls: ['main', 'a'], time: 40 },
      ]).rows,
    ).toEqual([['main 0-40'], ['a 0-20', 'b 20-30', 'a 30-40'], ['x 10-20']]);
  });

  it('takes a run of equal samples as long as it lasted', () => {
    expect(
      lane([
        { calls: ['f'], time: 10, last: 50, count: 5, weight: 50 },
        { calls: ['g'], time: 60 },
      ]).rows,
    ).toEqual([['f 0-50', 'g 50-60']]);
  });

  it('reaches back as far as its weight, however late the first of a run came', () => {
    expect(
      lane([
        { calls: ['f'], time: 10 },
        { calls: ['g'], time: 100, last: 110, count: 2, weight: 100 },
      ]).rows,
    ).toEqual([['f 0-10', 'g 10-110']]);
  });

  it('leaves a gap where the thread used no time', () => {
    expect(
      lane([
        { calls: ['f'], time: 10 },
        { calls: ['f'], time: 100 },
      ]).rows,
    ).toEqual([['f 0-10', 'f 90-100']]);
  });

  it("closes gaps that are the sampler's own jitter", () => {
    expect(
      lane([
        { calls: ['f'], time: 10 },
        { calls: ['f'], time: 23, weight: 9 },
      ]).rows,
    ).toEqual([['f 0-23']]);
  });

  it('keeps recursion as deep as it was', () => {
    expect(lane([{ calls: ['f', 'f', 'f'], time: 10 }]).rows).toEqual([['f 0-10'], ['f 0-10'], ['f 0-10']]);
  });

  it('sorts rows that finished out of order and leaves out those without a time', () => {
    const { lane: built, rows } = lane([
      { calls: ['b'], time: 20 },
      { calls: ['a'], time: 10 },
      { calls: ['c'], time: -1 },
    ]);
    expect(rows).toEqual([['a 0-10', 'b 10-20']]);
    expect(built.weight).toBe(30);
  });

  it('says when the thread waited and who held the GIL', () => {
    const { states } = lane([
      { calls: ['f'], time: 10, state: 2 << 2 },
      { calls: ['g'], time: 20, state: 2 << 2 },
      { calls: ['g'], time: 30, state: 1 | (1 << 2) },
    ]).lane;
    expect(
      Array.from(states.start.keys(), (i) => [
        states.start[i],
        states.end[i],
        isWaiting(states.state[i]),
        gilOf(states.state[i]),
      ]),
    ).toEqual([
      [0, 20, false, 2],
      [20, 30, true, 1],
    ]);
  });

  it('takes one thread only', () => {
    expect(
      lane([
        { calls: ['f'], time: 10, thread: 'a' },
        { calls: ['g'], time: 10, thread: 'b' },
      ]).rows,
    ).toEqual([['f 0-10']]);
  });
});

describe('coarsen', () => {
  const rowsOf = (built: Lane): string[][] =>
    Array.from({ length: built.rows }, (_, row) =>
      Array.from({ length: built.rowStart[row + 1] - built.rowStart[row] }, (__, i) => {
        const span = built.rowStart[row] + i;
        return `${built.func[span]} ${built.start[span]}-${built.end[span]}`;
      }),
    );
  const calls = (...parts: [number, string][]): TestSample[] =>
    parts.map(([time, name]) => ({ calls: ['main', name], time, weight: 4 }));

  it('closes what cannot be seen between calls of one function', () => {
    const { lane: built } = lane(calls([10, 'a'], [20, 'a'], [30, 'a'], [130, 'a']), 1);
    expect(rowsOf(coarsen(built, 6))).toEqual([
      ['0 6-30', '0 126-130'],
      ['1 6-30', '1 126-130'],
    ]);
  });

  it('shows of a stretch of short calls the function that had most of it', () => {
    const { lane: built } = lane(calls([4, 'a'], [8, 'b'], [12, 'b'], [16, 'a'], [20, 'b'], [24, 'b']), 10);
    expect(rowsOf(coarsen(built, 12))).toEqual([['0 0-24'], ['2 0-24']]);
  });

  it('makes only what is asked for', () => {
    const { lane: built } = lane(calls([10, 'a'], [20, 'b'], [30, 'a'], [40, 'b']), 1);
    expect(rowsOf(coarsen(built, 1, 17, 28))).toEqual([
      ['0 16-20', '0 26-30'],
      ['2 16-20', '1 26-30'],
    ]);
  });

  it('leaves alone what is wide enough, and the rest of it exact', () => {
    const { lane: built } = lane(calls([4, 'a'], [8, 'b'], [12, 'a']), 10);
    expect(rowsOf(coarsen(built, 2))).toEqual(rowsOf(built));
  });
});

describe('timeExtent', () => {
  it('reaches from what the first sample stands for to the last', () => {
    expect(
      timeExtent(
        profileOf([
          { calls: ['f'], time: 110, weight: 10 },
          { calls: ['f'], time: 300, last: 400, count: 2 },
        ]).profile,
      ),
    ).toEqual([100, 400]);
    expect(timeExtent(profileOf([]).profile)).toEqual([0, 1]);
  });
});

describe('spanAt', () => {
  const { lane: built } = lane([
    { calls: ['f', 'x'], time: 10 },
    { calls: ['f'], time: 20 },
    { calls: ['f', 'x'], time: 100 },
  ]);
  it('finds the span under a point, and none in a gap', () => {
    expect(built.start[spanAt(built, 0, 15)]).toBe(0);
    expect(spanAt(built, 1, 15)).toBe(-1);
    expect(spanAt(built, 0, 50)).toBe(-1);
    expect(built.start[spanAt(built, 1, 95)]).toBe(90);
    expect(spanAt(built, 2, 5)).toBe(-1);
    expect(spanAt(built, 0, 100)).toBe(-1);
  });
  it('knows the row of a span', () => {
    expect(rowOf(built, spanAt(built, 1, 95))).toBe(1);
    expect(rowOf(built, spanAt(built, 0, 95))).toBe(0);
  });
});

describe('visitSpans', () => {
  const spans = {
    start: Float64Array.from([0, 10, 11, 12, 13, 50, 90]),
    end: Float64Array.from([10, 11, 12, 13, 14, 90, 91]),
  };
  const visited = (from: number, to: number, minWidth: number): { shown: number[]; rest: number[][] } => {
    const shown: number[] = [];
    const rest: number[][] = [];
    visitSpans(
      spans,
      0,
      7,
      { from, to, minWidth },
      (i) => shown.push(i),
      (...run) => rest.push(run),
    );
    return { shown, rest };
  };
  it('shows what is wide enough and joins the rest', () => {
    expect(visited(0, 100, 0)).toEqual({ shown: [0, 1, 2, 3, 4, 5, 6], rest: [] });
    expect(visited(0, 100, 5)).toEqual({
      shown: [0, 5],
      rest: [
        [10, 14],
        [90, 91],
      ],
    });
  });
  it('keeps to the window', () => {
    expect(visited(11.5, 13, 0)).toEqual({ shown: [2, 3], rest: [] });
    expect(visited(20, 40, 0)).toEqual({ shown: [], rest: [] });
  });
  it('takes as many steps as there are pixels, not spans', () => {
    const n = 1_000_000;
    const start = Float64Array.from({ length: n }, (_, i) => i);
    const end = Float64Array.from({ length: n }, (_, i) => i + 1);
    let steps = 0;
    visitSpans(
      { start, end },
      0,
      n,
      { from: 0, to: n, minWidth: n / 1000 },
      () => steps++,
      () => steps++,
    );
    expect(steps).toBeLessThanOrEqual(1001);
  });
});
