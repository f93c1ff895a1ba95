import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { cythonRank, shortNative, withoutSuffixes } from './native-names';

const SHARED = new URL('../../../tests/examples/native_names.json', import.meta.url);

describe('shortNative', () => {
  it.each(JSON.parse(readFileSync(SHARED, 'utf8')) as [string, string][])('%s', (name, short) =>
    expect(shortNative(name)).toBe(short),
  );
});

describe('withoutSuffixes', () => {
  it.each([
    ['dict_dealloc.cold', 'dict_dealloc'],
    ['list_sort_impl.part.0.constprop.1', 'list_sort_impl'],
    ['libfoo.so+0x10', 'libfoo.so+0x10'],
  ])('%s', (name, short) => expect(withoutSuffixes(name)).toBe(short));
});

describe('cythonRank', () => {
  it('orders what Cython makes of one function', () => {
    const ranks = ['memcpy', '__pyx_pw_3mod_1f', '__pyx_pf_3mod_f(_object*)', '__pyx_f_3mod_f.isra.0'].map(cythonRank);
    expect(ranks).toEqual([0, 1, 2, 3]);
  });
});
