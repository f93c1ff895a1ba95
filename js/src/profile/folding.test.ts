import { describe, expect, it } from 'vitest';
import { encode } from '../../test/profiles';
import { decode } from './container';
import { fold, importedModule } from './folding';
import { Names } from './names';
import { buildTree } from './tree';

const LIBRARY = '/usr/lib/libpython3.12.so.1.0';
const KINDS = [
  'main@app.py:3',
  '<module>@app.py:1',
  '<module>@/v/site-packages/pandas/__init__.py:9',
  '<module>@/v/site-packages/pandas/core/api.py:2',
  '_find_and_load@<frozen importlib._bootstrap>:5',
  `*PyImport_ImportModuleLevelObject@${LIBRARY}`,
  `*_PyObject_Vectorcall@${LIBRARY}`,
  `*builtin_exec@${LIBRARY}`,
  '*dlopen@/lib/libc.so.6',
  '*PyInit_lib@/v/site-packages/pandas/_libs/lib.so',
  '*__pyx_pw_6pandas_5_libs_3lib_1f@/v/site-packages/pandas/_libs/lib.so',
  '*__pyx_pf_6pandas_5_libs_3lib_f@/v/site-packages/pandas/_libs/lib.so',
];

/** Numbers from 0 to `limit`, the same ones for a seed. */
function numbers(seed: number): (limit: number) => number {
  let state = seed * 7919 + 1;
  return (limit) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >>> 8) % limit;
  };
}

describe('fold', () => {
  it.each(Array.from({ length: 20 }, (_, seed) => seed))('changes no total, whatever calls whatever (%i)', (seed) => {
    const next = numbers(seed);
    const samples = Array.from({ length: 150 }, (_, i) => ({
      calls: Array.from({ length: 1 + next(25) }, () => KINDS[next(KINDS.length)]),
      weight: i + 1,
    }));
    const profile = decode(encode(samples));
    const { all, folded, whole } = fold(profile);
    expect(whole).toBe(profile);
    expect([all.stackParent, all.stackFrame, all.sampleStack]).toEqual([
      profile.stackParent,
      profile.stackFrame,
      profile.sampleStack,
    ]);
    expect(folded.sampleWeight).toBe(profile.sampleWeight);
    const names = new Names(all);
    const trees = [all, folded].map((form) => buildTree(form, names));
    expect(trees[1].total[0]).toBe(trees[0].total[0]);
    expect(trees[1].self.reduce((sum, self) => sum + self)).toBe(trees[0].total[0]);
    // Of every sample something is shown.
    expect(trees[1].self[0]).toBe(0);
    for (let stack = 0; stack < folded.stackParent.length; stack++) {
      expect(folded.stackParent[stack as never]).toBeLessThan(stack);
    }
  });

  it('gives back the same profile where there is nothing to fold', () => {
    const profile = decode(encode([{ calls: ['main', 'work'] }]));
    expect(fold(profile)).toEqual({ whole: profile, all: profile, folded: profile });
  });
});

describe('importedModule', () => {
  const known = new Set(['/home/ada/shop', '/home/ada/shop/till']);
  it.each([
    ['/v/site-packages/pandas/core/api.py', false, 'pandas.core.api'],
    ['/home/ada/shop/__init__.py', false, 'shop'],
    ['/home/ada/shop/till/coins.py', false, 'shop.till.coins'],
    ['/home/ada/pricing.py', false, 'pricing'],
    ['__init__.py', false, '__init__'],
    ['/v/site-packages/pandas/_libs/lib.cpython-312-x86_64-linux-gnu.so', true, 'pandas._libs.lib'],
  ])('%s', (file, native, name) => expect(importedModule(file, native, known)).toBe(name));
});
