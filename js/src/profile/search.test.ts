import { describe, expect, it } from 'vitest';
import { folded, profileOf } from '../../test/profiles';
import { type FuncRow, rowsOf } from './rows';
import { coverage, matchedNodes, matchFunctions, parseQuery, type Query, searchOf, textOf } from './search';
import { buildTree, pathOf } from './tree';

const LIB = '/venv/lib/python3.11/site-packages/sklearn/linear_model/_base.py';

function found(text: string, query: string): { names: string[]; covered: number; nodes: number; functions: number } {
  const { profile, names } = profileOf(folded(text));
  const matches = matchFunctions(names, profile.funcName.length, parseQuery(searchOf(query)) as Query);
  return {
    names: Array.from(rowsOf<FuncRow>(matches.length))
      .filter((func) => matches[func])
      .map((func) => names.name(func)),
    ...coverage(buildTree(profile, names), matches),
  };
}

const asked = (text: string): Query | null => parseQuery(searchOf(text));

describe('parseQuery', () => {
  it('takes text in any case', () => {
    expect(asked('FiT')?.test('LinearRegression.fit')).toBe(true);
    expect(asked('.fit(')?.test('x.fit')).toBe(false);
  });

  it('takes text with slashes as text, unless it is said to be a pattern', () => {
    expect(parseQuery({ search: '/usr/', pattern: null })?.test('a/usr/b')).toBe(true);
    expect(parseQuery({ search: 'a.c', pattern: null })?.test('abc')).toBe(false);
    expect(parseQuery({ search: 'a.C', pattern: 'i' })?.test('abc')).toBe(true);
  });

  it('takes a regular expression between slashes from a program, with its flags', () => {
    expect(asked('/^fit$/')?.test('fit')).toBe(true);
    expect(asked('/^fit$/')?.test('refit')).toBe(false);
    expect(asked('/^FIT$/i')?.test('fit')).toBe(true);
    expect(asked('/^FIT$/')?.test('fit')).toBe(false);
  });

  it('says what is wrong with a regular expression and matches nothing', () => {
    const query = asked('/(/');
    expect(query?.problem).toMatch(/regular expression/i);
    expect(query?.test('(')).toBe(false);
  });

  it('is nothing for blank text; a lone slash is text', () => {
    expect(asked('  ')).toBeNull();
    expect(asked('a/b')?.test('pkg/a/b.py')).toBe(true);
    expect(asked('/a/b.py')?.test('/x/a/b.py')).toBe(true);
  });

  it('is told as it was asked for', () => {
    for (const text of ['fit', '/^fit$/', '/^FIT$/i', '/a/b.py', '']) expect(textOf(searchOf(text))).toBe(text);
  });
});

describe('matchedNodes', () => {
  it('lists heavier ones first, callers before their callees', () => {
    const { profile, names } = profileOf(folded('a;fit;b;fit_inner 10\na;fit 5\na;refit 7\nfit 30'));
    const tree = buildTree(profile, names);
    const matches = matchFunctions(names, profile.funcName.length, asked('fit') as Query);
    const paths = matchedNodes(tree, matches).map((node) =>
      pathOf(tree, node)
        .map((key) => names.name(key as FuncRow))
        .join(';'),
    );
    expect(paths).toEqual(['fit', 'a;fit', 'a;fit;b;fit_inner', 'a;refit']);
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
