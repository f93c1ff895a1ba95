import { describe, expect, it } from 'vitest';
import { folded, profileOf } from '../../test/profiles';
import { type FuncRow, rowsOf } from './rows';
import { coverage, matchFunctions, parseQuery, type Query } from './search';
import { buildTree } from './tree';

const LIB = '/venv/lib/python3.11/site-packages/sklearn/linear_model/_base.py';

function found(text: string, query: string): { names: string[]; covered: number; nodes: number; functions: number } {
  const { profile, names } = profileOf(folded(text));
  const matches = matchFunctions(names, profile.funcName.length, parseQuery(query) as Query);
  return {
    names: Array.from(rowsOf<FuncRow>(matches.length))
      .filter((func) => matches[func])
      .map((func) => names.name(func)),
    ...coverage(buildTree(profile, names), matches),
  };
}

describe('parseQuery', () => {
  it('takes text in any case', () => {
    expect(parseQuery('FiT')?.test('LinearRegression.fit')).toBe(true);
    expect(parseQuery('.fit(')?.test('x.fit')).toBe(false);
  });

  it('takes a regular expression between slashes, with its flags', () => {
    expect(parseQuery('/^fit$/')?.test('fit')).toBe(true);
    expect(parseQuery('/^fit$/')?.test('refit')).toBe(false);
    expect(parseQuery('/^FIT$/i')?.test('fit')).toBe(true);
    expect(parseQuery('/^FIT$/')?.test('fit')).toBe(false);
  });

  it('says what is wrong with a regular expression and matches nothing', () => {
    const query = parseQuery('/(/');
    expect(query?.problem).toMatch(/regular expression/i);
    expect(query?.test('(')).toBe(false);
  });

  it('is nothing for blank text; a lone slash is text', () => {
    expect(parseQuery('  ')).toBeNull();
    expect(parseQuery('a/b')?.test('pkg/a/b.py')).toBe(true);
    expect(parseQuery('/a/b.py')?.test('/x/a/b.py')).toBe(true);
  });
});

describe('matchFunctions', () => {
  it('looks at name, module, and file', () => {
    const text = `main;fit@${LIB} 5\nmain;other@z.py 5`;
    for (const query of [
      'fit',
      'sklearn',
      'linear_model/_base',
      'sklearn.linear_model._base.fit',
      '/_base\\.py:1$/',
      '/^fit$/',
      LIB,
    ]) {
      expect(found(text, query).names, query).toEqual(['fit']);
    }
  });
});

describe('coverage', () => {
  it('counts a match inside a match once', () => {
    expect(found('a;fit;b;fit_inner 10\na;fit 5\na;refit 7\na 78', 'fit')).toMatchObject({
      covered: 22,
      nodes: 3,
      functions: 3,
    });
  });

  it('is zero where nothing matches', () => {
    expect(found('a;b 10', 'zzz')).toMatchObject({ covered: 0, nodes: 0, functions: 0 });
  });
});
