import { describe, expect, it } from 'vitest';
import { folded, profileOf } from '../../test/profiles';
import { show } from '../../test/show';
import type { FuncRow, ThreadRow } from './rows';
import { buildTree, hotLines, invertTree, nodeAt, pathOf, type TreeOptions, WHOLE } from './tree';

function shown(
  text: string,
  options: (func: (name: string) => FuncRow) => Partial<TreeOptions> = () => ({}),
): string[] {
  const { profile, names, func } = profileOf(folded(text));
  return show(buildTree(profile, names, { ...WHOLE, ...options(func) }), names, profile);
}

const BASIC = `
  main;load;parse 30
  main;load 5
  main;fit;dot 50
  main;fit 10
  main 5`;

describe('buildTree', () => {
  it('adds up self and total, largest child first', () => {
    expect(shown(BASIC)).toEqual([
      'all 100/0',
      '  main 100/5',
      '    fit 60/10',
      '      dot 50/50',
      '    load 35/5',
      '      parse 30/30',
    ]);
  });

  it('makes one node of one function at different lines', () => {
    const { profile, names } = profileOf([
      { calls: ['main@a.py:3', 'f@a.py:9'], weight: 4 },
      { calls: ['main@a.py:4', 'f@a.py:9'], weight: 6 },
    ]);
    const tree = buildTree(profile, names);
    expect(show(tree, names, profile)).toEqual(['all 10/0', '  main 10/0', '    f 10/10']);
    expect(hotLines(profile, tree, 1)).toEqual([
      { line: 4, weight: 6 },
      { line: 3, weight: 4 },
    ]);
  });

  it('leaves hidden functions out and gives their time to their caller', () => {
    expect(shown(BASIC, (func) => ({ hideFunctions: new Set([func('fit')]) }))).toEqual([
      'all 100/0',
      '  main 100/15',
      '    dot 50/50',
      '    load 35/5',
      '      parse 30/30',
    ]);
  });

  it('gives the time of a hidden root to the whole', () => {
    expect(shown('main;f 3\nmain 1', (func) => ({ hideFunctions: new Set([func('main')]) }))).toEqual([
      'all 4/1',
      '  f 3/3',
    ]);
  });

  it('hides a module group', () => {
    const lib = '/x/site-packages/numpy/core.py';
    expect(
      shown(`main;dot@${lib};gemm@${lib};cb 8\nmain;dot@${lib} 2`, () => ({ hideGroups: new Set(['numpy']) })),
    ).toEqual(['all 10/0', '  main 10/2', '    cb 8/8']);
  });

  it('focuses a function: only its stacks, from its outermost call on', () => {
    expect(shown('a;f;b;f;c 7\na;f 2\nd 90', (func) => ({ focusFunction: func('f') }))).toEqual([
      'all 9/0',
      '  f 9/2',
      '    b 7/0',
      '      f 7/0',
      '        c 7/7',
    ]);
  });

  it('focuses a module group', () => {
    const lib = '/x/site-packages/numpy/core.py';
    expect(shown(`main;dot@${lib};cb 8\nmain 90`, () => ({ focusGroup: 'numpy' }))).toEqual([
      'all 8/0',
      '  dot 8/0',
      '    cb 8/8',
    ]);
  });

  it('collapses direct and indirect recursion into the first frame', () => {
    expect(shown('f;f;f 3\nf;g;f;h 4\nf 1', () => ({ collapseRecursion: true }))).toEqual([
      'all 8/0',
      '  f 8/4',
      '    h 4/4',
      '    g 0/0',
    ]);
  });

  it('merges or splits threads, and takes the ones asked for', () => {
    const { profile, names } = profileOf([
      { calls: ['run', 'a'], weight: 3, thread: 'one' },
      { calls: ['run', 'a'], weight: 5, thread: 'two' },
      { calls: ['run'], weight: 2, thread: 'two' },
    ]);
    const tree = (options: Partial<TreeOptions>): string[] =>
      show(buildTree(profile, names, { ...WHOLE, ...options }), names, profile);
    expect(tree({})).toEqual(['all 10/0', '  run 10/2', '    a 8/8']);
    expect(tree({ split: true })).toEqual([
      'all 10/0',
      '  [two] 7/0',
      '    run 7/2',
      '      a 5/5',
      '  [one] 3/0',
      '    run 3/0',
      '      a 3/3',
    ]);
    expect(tree({ threads: new Set([0 as ThreadRow]) })).toEqual(['all 3/0', '  run 3/0', '    a 3/3']);
  });

  it('leaves waiting samples or other times out when asked', () => {
    const { profile, names } = profileOf([
      { calls: ['f'], weight: 3, time: 10, state: 1 },
      { calls: ['f'], weight: 5, time: 20, state: 0 | (2 << 2) },
      { calls: ['f'], weight: 7, time: 30 },
    ]);
    expect(buildTree(profile, names, { ...WHOLE, runningOnly: true }).total[0]).toBe(12);
    expect(buildTree(profile, names, { ...WHOLE, range: [15, 23] }).total[0]).toBe(5);
    // The third stands for 23 to 30.
    expect(buildTree(profile, names, { ...WHOLE, range: [10, 25] }).total[0]).toBeCloseTo(5 + 2, 9);
  });

  it('keeps counts beside weights', () => {
    const { profile, names } = profileOf([
      { calls: ['a', 'b'], weight: 9, count: 3 },
      { calls: ['a'], weight: 1 },
    ]);
    const tree = buildTree(profile, names);
    expect(Array.from(tree.totalCount)).toEqual([4, 4, 3]);
    expect(Array.from(tree.selfCount)).toEqual([0, 1, 3]);
  });

  it('holds on a profile without samples', () => {
    const { profile, names } = profileOf([]);
    expect(show(buildTree(profile, names), names, profile)).toEqual(['all 0/0']);
  });

  it('keeps many distinct paths apart', () => {
    const samples = Array.from({ length: 5000 }, (_, i) => ({ calls: ['main', `f${i % 71}`, `g${i}`], weight: 1 + i }));
    const { profile, names } = profileOf(samples);
    const tree = buildTree(profile, names);
    expect(tree.length).toBe(1 + 1 + 71 + 5000);
    expect(tree.total[0]).toBe((5000 * 5001) / 2);
  });
});

describe('invertTree', () => {
  it('starts from the functions that burn the time', () => {
    const { profile, names } = profileOf(folded('a;f 5\nb;f 3\nb 2'));
    expect(show(invertTree(buildTree(profile, names)), names, profile)).toEqual([
      'all 10/0',
      '  f 8/0',
      '    a 5/5',
      '    b 3/3',
      '  b 2/2',
    ]);
  });

  it('keeps the whole, filters included', () => {
    const { profile, names, func } = profileOf(folded(BASIC));
    const tree = buildTree(profile, names, { ...WHOLE, hideFunctions: new Set([func('fit')]) });
    expect(show(invertTree(tree), names, profile)).toEqual([
      'all 100/0',
      '  dot 50/0',
      '    main 50/50',
      '  parse 30/0',
      '    load 30/0',
      '      main 30/30',
      '  main 15/15',
      '  load 5/0',
      '    main 5/5',
    ]);
  });
});

describe('paths', () => {
  it('lead to their node and, when it is gone, as far as they can', () => {
    const { profile, names, func } = profileOf(folded(BASIC));
    const tree = buildTree(profile, names);
    const path = ['main', 'fit', 'dot'].map(func);
    const { node, found } = nodeAt(tree, path);
    expect(found).toBe(true);
    expect(pathOf(tree, node)).toEqual(path);
    expect(nodeAt(tree, [...path, 0])).toEqual({ node, found: false });
  });
});
