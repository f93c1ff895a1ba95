import { describe, expect, it } from 'vitest';
import { activity, moved, stepOf } from './overview';

const RAN = 0;
const WAITED = 1;
const states = (...runs: [number, number, number][]) => ({
  states: {
    start: Float64Array.from(runs, ([start]) => start),
    end: Float64Array.from(runs, ([, end]) => end),
    state: Uint8Array.from(runs, ([, , state]) => state),
  },
});

describe('activity', () => {
  it('counts the threads that ran and waited in each stretch', () => {
    const { running, waiting } = activity(
      [states([100, 150, RAN], [150, 200, WAITED]), states([100, 125, RAN], [190, 200, RAN])],
      [100, 200],
      4,
    );
    expect(Array.from(running)).toEqual([2, 1, 0, expect.closeTo(0.4)]);
    expect(Array.from(waiting)).toEqual([0, 0, 1, 1]);
  });

  it('loses nothing of runs shorter than a stretch, nor of what reaches out of the extent', () => {
    const { running } = activity([states([-10, 3, RAN], [4, 5, RAN], [9.5, 30, RAN])], [0, 10], 2);
    expect(Array.from(running)).toEqual([expect.closeTo(4 / 5), expect.closeTo(0.5 / 5)]);
  });
});

describe('moved', () => {
  const window = { from: 20, to: 50 };
  const by = (part: 'from' | 'to' | 'all', distance: number) => moved(window, part, distance, [0, 100], 5);
  it('moves an end, and never past the other or out', () => {
    expect(by('from', 10)).toEqual({ from: 30, to: 50 });
    expect(by('from', 40)).toEqual({ from: 45, to: 50 });
    expect(by('from', -40)).toEqual({ from: 0, to: 50 });
    expect(by('to', -40)).toEqual({ from: 20, to: 25 });
    expect(by('to', 80)).toEqual({ from: 20, to: 100 });
  });
  it('moves all of it, as long as it was', () => {
    expect(by('all', 10)).toEqual({ from: 30, to: 60 });
    expect(by('all', -40)).toEqual({ from: 0, to: 30 });
    expect(by('all', 90)).toEqual({ from: 70, to: 100 });
  });
  it('leaves the whole of a span shorter than the least as it is', () => {
    expect(moved({ from: 0, to: 3 }, 'from', 1, [0, 3], 5)).toEqual({ from: 0, to: 3 });
  });
});

describe('stepOf', () => {
  it('goes by shares of the whole, and to the ends', () => {
    const step = (key: string) => stepOf(key, [100, 300]);
    expect(['ArrowLeft', 'ArrowRight', 'PageDown', 'PageUp', 'Home', 'End'].map(step)).toEqual([
      -2, 2, -20, 20, -200, 200,
    ]);
    expect(step('a')).toBeNull();
  });
});
