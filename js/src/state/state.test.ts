import { describe, expect, it } from 'vitest';
import { encode, folded, type TestSample } from '../../test/profiles';
import type { Thread } from '../profile/container';
import type { FuncRow, ThreadRow } from '../profile/rows';
import { searchOf } from '../profile/search';
import { toSpeedscope } from '../profile/speedscope';
import { pathOf } from '../profile/tree';
import { findThread } from './choices';
import { spoken, title } from './describe';
import { onChange, State } from './state';

function stateOf(text: string): {
  state: State;
  func: (name: string) => FuncRow;
} {
  const state = new State();
  state.setData(encode(folded(text)));
  const func = (name: string): FuncRow => {
    for (let row = 0 as FuncRow; row < state.functions; row++) if (state.names.name(row) === name) return row;
    throw new Error(`no ${name}`);
  };
  return { state, func };
}

const TEXT = 'main;load;parse 30\nmain;fit;dot 50\nmain;fit 10\nmain;load 10';

describe('only my code', () => {
  const FRAME = '/v/site-packages/pandas/frame.py';
  const state = new State();
  state.setData(encode([{ calls: ['main@app.py', `apply@${FRAME}`, 'key@app.py', `get@${FRAME}`], weight: 30 }]));
  const functions = (): [string, number, number][] =>
    state.table.map(({ func, self, total }) => [state.names.name(func), self, total]);

  it('gives what libraries do to the line that called them', () => {
    expect(state.hasLibraries).toBe(true);
    expect(functions()).toHaveLength(4);
    state.update({ onlyOwn: true });
    expect(functions()).toEqual([
      ['main', 0, 30],
      ['key', 30, 30],
    ]);
    expect(state.tree.total[0]).toBe(30);
    state.update({ onlyOwn: false });
    expect(functions()).toHaveLength(4);
  });

  it('is not offered where all of it is', () => {
    expect(stateOf(TEXT).state.hasLibraries).toBe(false);
  });
});

describe('all frames', () => {
  const BOOTSTRAP = '<frozen importlib._bootstrap>';
  const LIBRARY = '/usr/lib/libpython3.12.so.1.0';
  const PANDAS = '/v/site-packages/pandas/__init__.py';
  const importing = ['main@app.py', `_find_and_load@${BOOTSTRAP}`, `_load_unlocked@${BOOTSTRAP}`, `<module>@${PANDAS}`];
  const calling = ['main@app.py', `*_PyObject_Vectorcall@${LIBRARY}`, '*void run<int>(int)@/v/fast.so'];
  const opened = (): State => {
    const state = new State();
    state.setData(
      encode([
        { calls: importing, weight: 30 },
        { calls: calling, weight: 20 },
      ]),
    );
    return state;
  };
  const shown = ({ tree, names }: State): string[] =>
    Array.from(tree.key.subarray(1), (key) => names.title(key as FuncRow)).sort();

  it('are shown when wanted, and what they take is nowhere else then', () => {
    const state = opened();
    expect(state.folds).toBe(true);
    expect(shown(state)).toEqual(['<module>', 'import pandas', 'main', 'run']);
    expect(state.tree.total[0]).toBe(50);
    state.update({ allFrames: true });
    expect(shown(state)).toEqual([
      '<module>',
      '_PyObject_Vectorcall',
      '_find_and_load',
      '_load_unlocked',
      'main',
      'run',
    ]);
    expect(state.tree.total[0]).toBe(50);
  });

  it('are no reason to lose what was chosen', () => {
    const state = opened();
    const stack = state.stackOf(
      state.tree.key.findIndex((key) => key >= 0 && state.names.title(key as FuncRow) === 'run'),
    );
    const func = stack[stack.length - 1];
    state.update({ selection: { func, stack } });
    for (const allFrames of [true, false]) {
      state.update({ allFrames });
      expect(title(state, state.aggregate.tree, state.selectedNode())).toBe('run');
    }
  });

  it('are all in what is saved', () => {
    const state = opened();
    expect(state.whole.funcName.length).toBe(6);
    expect(toSpeedscope(state.whole).shared.frames).toHaveLength(6);
  });

  it('are found by the whole name', () => {
    const state = opened();
    for (const search of ['void run<int>', '/^run$/'].map(searchOf)) {
      state.update(search);
      expect(state.coverage?.covered).toBe(20);
    }
  });

  it('are no question where nothing is folded', () => expect(stateOf(TEXT).state.folds).toBe(false));
});

describe('State', () => {
  it('works things out once, and anew when what they follow from changes', () => {
    const { state, func } = stateOf(TEXT);
    const { tree, aggregate, table } = state;
    state.update({ search: 'fit' });
    expect(state.tree).toBe(tree);
    expect(state.aggregate).toBe(aggregate);
    state.update({ inverted: true });
    expect(state.tree).toBe(tree);
    expect(state.aggregate).not.toBe(aggregate);
    state.updateTree({ hideFunctions: new Set([func('fit')]) });
    expect(state.tree).not.toBe(tree);
    expect(state.table).not.toBe(table);
  });

  it('searches by text, by pattern, and greys nothing for a pattern that cannot be understood', () => {
    const { state } = stateOf(TEXT);
    state.update({ search: '^fit$' });
    expect(state.coverage?.functions).toBe(0);
    state.update({ pattern: 'i' });
    expect(state.coverage?.functions).toBe(1);
    const { matches } = state;
    state.update({ view: 'table' });
    expect(state.matches).toBe(matches);
    state.update({ search: '(' });
    expect(state.query?.problem).not.toBe('');
    expect(state.matches).toBeNull();
    expect(state.matchedNodes).toEqual([]);
  });

  it('works nothing out that nobody asked for, and tells of a value only when it is another', () => {
    const { state, func } = stateOf(TEXT);
    const told: unknown[] = [];
    const stop = onChange(
      () => state.choices.search,
      (text) => told.push(text),
    );
    const stopTree = onChange(
      () => state.tree,
      (tree) => told.push(tree.total[0]),
    );
    state.update({ search: 'fit' });
    state.update({ search: 'fit', view: 'table' });
    state.update({ selection: { func: func('dot'), stack: [] } });
    expect(told).toEqual(['fit']);
    state.updateTree({ focusFunction: func('fit') });
    expect(told).toEqual(['fit', 60]);
    // One step of what follows from several choices, however many of them changed.
    state.setData(encode(folded(`${TEXT}\nmain;fit 40`)));
    expect(told).toEqual(['fit', 60, 100]);
    stop();
    stopTree();
    state.update({ search: 'dot' });
    expect(told).toHaveLength(3);
  });

  it('tells the share that a search covers', () => {
    const { state } = stateOf(TEXT);
    state.update({ search: '^(fit|dot)$', pattern: '' });
    expect(state.coverage).toEqual({ nodes: 2, functions: 2, covered: 60 });
    state.update({ search: '' });
    expect(state.coverage).toBeNull();
  });

  it('finds the selected stack in either direction', () => {
    const { state, func } = stateOf(TEXT);
    const stack = ['main', 'fit', 'dot'].map(func);
    state.update({ selection: { func: func('dot'), stack } });
    const upright = state.selectedNode();
    expect(state.stackOf(upright)).toEqual(stack);
    state.update({ inverted: true });
    const { tree } = state.aggregate;
    const inverted = state.selectedNode();
    expect([tree.depth[inverted], tree.key[inverted], tree.total[inverted]]).toEqual([3, func('main'), 50]);
    expect(state.stackOf(inverted)).toEqual(stack);
  });

  it('finds the widest frame of a function selected by name', () => {
    const { state, func } = stateOf('a;f 5\nb;f 20\nc;f 7');
    state.update({ selection: { func: func('f'), stack: [] } });
    expect(state.aggregate.tree.total[state.selectedNode()]).toBe(20);
  });

  it('keeps zoom, selection and filters when a live profile grows, though its tables are numbered anew', () => {
    const { state, func } = stateOf(TEXT);
    state.update({
      zoom: ['main', 'fit'].map(func),
      selection: { func: func('dot'), stack: ['main', 'fit', 'dot'].map(func) },
      tree: { ...state.choices.tree, hideFunctions: new Set([func('parse')]) },
      search: 'dot',
    });
    state.setData(encode(folded(`boot;init 5\n${TEXT}\nmain;fit;dot 40`)));
    const { tree } = state.aggregate;
    expect(title(state, tree, state.zoomedNode())).toBe('fit');
    expect(spoken(state, tree, state.selectedNode())).toBe('dot, app.py:1, 90 ns, 62 %');
    expect([...state.choices.tree.hideFunctions].map((row) => state.names.name(row))).toEqual(['parse']);
    expect(state.coverage?.covered).toBe(90);
  });

  it('keeps the threads that were chosen, though a new profile numbers them anew', () => {
    const state = new State();
    const ran = (...threads: string[]): TestSample[] =>
      threads.map((thread, i) => ({ calls: [`in_${thread}`], thread, weight: 10 * (i + 1) }));
    const chosen = (): string[] => [...(state.choices.tree.threads ?? [])].map((row) => state.data.threads[row].name);
    state.setData(encode(ran('MainThread', 'upload', 'poll')));
    state.updateTree({ threads: new Set([1 as ThreadRow]) });
    expect(title(state, state.tree, 1)).toBe('in_upload');
    state.setData(encode(ran('watch', 'MainThread', 'upload')));
    expect(chosen()).toEqual(['upload']);
    expect(title(state, state.tree, 1)).toBe('in_upload');
    // A thread that is gone is not another one.
    state.setData(encode(ran('watch', 'MainThread')));
    expect(state.choices.tree.threads).toBeNull();
    expect(state.tree.total[0]).toBe(30);
  });

  it('keeps lanes folded, though a new profile numbers their threads anew', () => {
    const state = new State();
    const ran = (...threads: string[]): TestSample[] => threads.map((thread) => ({ calls: ['f'], thread }));
    state.setData(encode(ran('MainThread', 'upload', 'poll')));
    state.update({ foldedLanes: new Set([0 as ThreadRow, 2 as ThreadRow]) });
    state.setData(encode(ran('watch', 'MainThread', 'upload')));
    expect([...state.choices.foldedLanes].map((row) => state.data.threads[row].name)).toEqual(['MainThread']);
  });

  it("knows a thread by number and name, and by its name alone only where that is one thread's", () => {
    const thread = (tid: number, name: string): Thread => ({ tid, name, pid: 7, host: '' });
    const pool = [thread(3, 'worker'), thread(4, 'worker'), thread(1, 'MainThread')];
    expect(findThread(pool, thread(4, 'worker'))).toBe(1);
    expect(findThread(pool, thread(9, 'worker'))).toBeUndefined();
    expect(findThread(pool, thread(9, 'MainThread'))).toBe(2);
    expect(findThread(pool, thread(3, 'other'))).toBeUndefined();
  });

  it('keeps a zoom into a thread when threads stand apart', () => {
    const { state } = stateOf('f 1');
    state.setData(encode([{ calls: ['f'] }, { calls: ['g'], thread: 'upload' }]));
    state.updateTree({ split: true });
    const upload = Array.from(state.tree.key).findIndex((_, node) => title(state, state.tree, node) === 'upload');
    state.update({ zoom: pathOf(state.tree, upload) });
    expect(title(state, state.tree, state.zoomedNode())).toBe('upload');
    state.setData(encode([{ calls: ['w'], thread: 'watch' }, { calls: ['f'] }, { calls: ['g'], thread: 'upload' }]));
    expect(title(state, state.tree, state.zoomedNode())).toBe('upload');
  });

  it('goes back as far as it must when what it showed is gone', () => {
    const { state, func } = stateOf(TEXT);
    state.update({ zoom: ['main', 'fit', 'dot'].map(func), selection: { func: func('dot'), stack: [] } });
    state.setData(encode(folded('main;fit 3\nmain;other 4')));
    expect(title(state, state.aggregate.tree, state.zoomedNode())).toBe('fit');
    expect(state.choices.selection).toBeNull();
  });

  it('shows a difference as one from the start', () => {
    const state = new State();
    state.setData(
      encode([
        { calls: ['f'], weight: 10, thread: 'before: M' },
        { calls: ['f'], weight: 30, thread: 'after: M' },
      ]),
    );
    expect(state.choices.colors).toBe('diff');
    expect(spoken(state, state.tree, 1)).toBe('f, app.py:1, 30 ns, 100 %, +20 ns');
  });

  it('refuses a damaged profile and keeps the one it has', () => {
    const { state } = stateOf(TEXT);
    expect(() => state.setData(new Uint8Array(40))).toThrow(/magic/);
    expect(state.tree.total[0]).toBe(100);
  });
});
