import { describe, expect, it } from 'vitest';
import { change, count, counted, duration, share, tickStep } from './format';

describe('duration', () => {
  it.each([
    [0, '0 s'],
    [1, '1 ns'],
    [999, '999 ns'],
    [1000, '1 µs'],
    [12_345, '12.3 µs'],
    [999_600, '1 ms'],
    [1_000_000, '1 ms'],
    [340_000_000, '340 ms'],
    [99_960_000, '100 ms'],
    [9_996_000, '10 ms'],
    [1_204_000_000, '1.2 s'],
    [1_000_000_000, '1 s'],
    [43_210_000_000, '43.2 s'],
    [185_000_000_000, '3 min 05 s'],
    [7_260_000_000_000, '2 h 01 min'],
    [-2_500_000, '−2.5 ms'],
  ])('%d ns reads %s', (ns, text) => expect(duration(ns)).toBe(text));
});

describe('share', () => {
  it.each([
    [43, 100, '43 %'],
    [4.34, 100, '4.3 %'],
    [4, 100, '4 %'],
    [0.123, 100, '0.12 %'],
    [0.001, 100, '< 0.01 %'],
    [0, 100, '0 %'],
    [1, 0, '0 %'],
    [100, 100, '100 %'],
    [99.7, 100, '100 %'],
    [9.96, 100, '10 %'],
    [-5, 100, '−5 %'],
  ])('%d of %d reads %s', (part, whole, text) => expect(share(part, whole)).toBe(text));
});

describe('counts and changes', () => {
  it('groups thousands and minds the singular', () => {
    expect(count(1234567)).toBe('1,234,567');
    expect(counted(1, 'sample')).toBe('1 sample');
    expect(counted(1000, 'sample')).toBe('1,000 samples');
  });

  it('says which way', () => {
    expect(change(1e9)).toBe('+1 s');
    expect(change(-1e9)).toBe('−1 s');
    expect(change(0)).toBe('0 s');
  });
});

describe('tickStep', () => {
  it.each([
    [100, 10, 10],
    [95, 10, 10],
    [1000, 7, 200],
    [7, 10, 1],
    [0.7, 10, 0.1],
  ])('span %d in %d marks: every %d', (span, wanted, step) => expect(tickStep(span, wanted)).toBeCloseTo(step, 12));
});
