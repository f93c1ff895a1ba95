import { describe, expect, it } from 'vitest';
import { folded, profileOf } from '../../test/profiles';
import { functionTable, sortRows } from './table';
import { buildTree } from './tree';

function table(text: string): Record<string, [number, number]> {
  const { profile, names } = profileOf(folded(text));
  return Object.fromEntries(
    functionTable(buildTree(profile, names), profile.funcName.length).map((row) => [
      names.name(row.func),
      [row.self, row.total],
    ]),
  );
}

describe('functionTable', () => {
  it('counts a recursive function once a stack', () => {
    expect(table('main;fib;fib;fib 6\nmain;fib 2\nmain;g;fib 1')).toEqual({ main: [0, 9], fib: [9, 9], g: [0, 1] });
  });

  it('counts mutual recursion once for each function', () => {
    expect(table('a;b;a;b 10\nb;a 5')).toEqual({ a: [5, 15], b: [10, 15] });
  });
});

describe('sortRows', () => {
  it('sorts by what is asked, ties by total', () => {
    const { profile, names } = profileOf(folded('a;b 5\nc 7\nd 5'));
    const rows = functionTable(buildTree(profile, names), profile.funcName.length);
    const order = (by: Parameters<typeof sortRows>[1], down: boolean): string =>
      sortRows(rows, by, down, (func) => ({ name: names.name(func), module: 'm' }))
        .map(({ func }) => names.name(func))
        .join('');
    expect(order('self', true)).toBe('cbda');
    expect(order('total', true)).toBe('cabd');
    expect(order('name', false)).toBe('abcd');
    expect(order('name', true)).toBe('dcba');
  });
});
