// Owns the sentences about a frame: its title, what a screen reader says, what the tooltip lists.
import * as format from '../profile/format';
import { type CallTree, hotLines, threadOf } from '../profile/tree';
import type { State } from './state';

export interface Described {
  title: string;
  module: string;
  native: boolean;
  location: string;
  path: string;
  /** What to call it, and how much. */
  figures: [string, string][];
  lines: { text: string; share: string }[];
}

export function threadLabel(state: State, row: number): string {
  const thread = state.data.threads[row];
  const hosts = new Set(state.data.threads.map(({ host, pid }) => `${host}:${pid}`));
  const where = hosts.size > 1 ? ` · ${thread.host ? `${thread.host} ` : ''}pid ${thread.pid}` : '';
  return `${thread.name || `thread ${thread.tid}`}${where}`;
}

export function title(state: State, tree: CallTree, node: number): string {
  const key = tree.key[node];
  if (key >= 0) return state.names.title(key);
  const thread = threadOf(key);
  if (thread >= 0) return threadLabel(state, thread);
  return `All · ${format.duration(tree.total[0])}`;
}

export function module(state: State, tree: CallTree, node: number): string {
  const key = tree.key[node];
  if (key < 0) return '';
  const where = state.names.place(key);
  const { baseline } = tree;
  const moved = baseline ? `${format.change(tree.total[node] - baseline[node])}  ` : '';
  // A cell's own code is called by its cell already.
  return moved + (where.module === state.names.title(key) ? '' : where.module);
}

/** `fit, sklearn/linear_model/_base.py:123, 1.2 s, 43 %`. */
export function spoken(state: State, tree: CallTree, node: number): string {
  const key = tree.key[node];
  const used = `${format.duration(tree.total[node])}, ${format.share(tree.total[node], tree.total[0])}`;
  if (key < 0) {
    const thread = threadOf(key);
    return `${thread >= 0 ? threadLabel(state, thread) : 'all'}, ${used}`;
  }
  const line = hotLines(state.data, tree, node)[0]?.line || state.data.funcLine[key];
  const { baseline } = tree;
  const moved = baseline ? `, ${format.change(tree.total[node] - baseline[node])}` : '';
  return `${state.names.name(key)}, ${state.names.location(key, line)}, ${used}${moved}${state.names.native(key) ? ', native' : ''}`;
}

/** `ownTime` is false for trees of callers, whose frames stand for time further down. */
export function describe(state: State, tree: CallTree, node: number, ownTime = !state.choices.inverted): Described {
  const key = tree.key[node];
  const whole = tree.total[0];
  const time = (ns: number): string => `${format.duration(ns)} · ${format.share(ns, whole)}`;
  const { names, data } = state;
  const lines = key < 0 ? [] : hotLines(data, tree, node).filter(({ line }) => line > 0);
  const lineTotal = lines.reduce((sum, { weight }) => sum + weight, 0);
  const { baseline } = tree;
  return {
    title: title(state, tree, node),
    module: key >= 0 ? names.place(key).module : '',
    native: key >= 0 && names.native(key),
    location: key >= 0 ? names.location(key) : '',
    path: key >= 0 ? names.place(key).path : '',
    figures: [
      ['Total', time(tree.total[node])],
      ...(ownTime ? ([['Self', time(tree.self[node])]] as [string, string][]) : []),
      ['Samples', format.count(tree.totalCount[node])],
      ...(baseline
        ? ([
            ['Change', `${format.change(tree.total[node] - baseline[node])} (was ${format.duration(baseline[node])})`],
          ] as [string, string][])
        : []),
    ],
    lines:
      lines.length > 1 || (lines.length === 1 && lines[0].line !== data.funcLine[key])
        ? lines
            .slice(0, 3)
            .map(({ line, weight }) => ({ text: `line ${line}`, share: format.share(weight, lineTotal) }))
        : [],
  };
}
