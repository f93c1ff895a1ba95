// Owns the sentences about a frame: its title, what a screen reader says, what the tooltip lists.
import { DOINGS, RUNNING } from '../profile/causes';
import * as format from '../profile/format';
import { severalProcesses } from '../profile/labels';
import type { ThreadRow } from '../profile/rows';
import { type CallTree, functionOf, hotLines, isFunction, threadOf } from '../profile/tree';
import type { State } from './state';

export interface Described {
  title: string;
  /** The name as the profile has it, where the title is shorter. */
  whole: string;
  module: string;
  native: boolean;
  location: string;
  path: string;
  /** What to call it, and how much. */
  figures: [string, string][];
  lines: { text: string; share: string }[];
}

export function threadLabel(state: State, row: ThreadRow): string {
  const thread = state.data.threads[row];
  const where = severalProcesses(state.data.threads)
    ? ` · ${thread.host ? `${thread.host} ` : ''}pid ${thread.pid}`
    : '';
  return `${thread.name || `thread ${thread.tid}`}${where}`;
}

export function title(state: State, tree: CallTree, node: number): string {
  const key = tree.key[node];
  if (isFunction(key)) return state.names.title(key);
  const thread = threadOf(key);
  if (thread !== null) return threadLabel(state, thread);
  return `All · ${format.duration(tree.total[0])}`;
}

/** What stands behind a frame's title; in a difference first how much it changed. */
export function module(state: State, tree: CallTree, node: number): string {
  const func = functionOf(tree, node);
  if (func === null) return '';
  const { baseline } = tree;
  const where = state.names.module(func);
  return [
    ...(baseline ? [format.change(tree.total[node] - baseline[node])] : []),
    ...(where !== '' ? [where] : []),
  ].join('  ');
}

export function native(state: State, tree: CallTree, node: number): boolean {
  const func = functionOf(tree, node);
  return func !== null && state.names.native(func);
}

/** `fit, sklearn/linear_model/_base.py:123, 1.2 s, 43 %`. */
export function spoken(state: State, tree: CallTree, node: number): string {
  const key = tree.key[node];
  const used = `${format.duration(tree.total[node])}, ${format.share(tree.total[node], tree.total[0])}`;
  if (!isFunction(key)) {
    const thread = threadOf(key);
    return `${thread !== null ? threadLabel(state, thread) : 'all'}, ${used}`;
  }
  const line = hotLines(state.data, tree, node)[0]?.line || state.data.funcLine[key];
  const { baseline } = tree;
  const moved = baseline ? `, ${format.change(tree.total[node] - baseline[node])}` : '';
  return `${state.names.name(key)}, ${state.names.location(key, line)}, ${used}${moved}${state.names.native(key) ? ', native' : ''}`;
}

/** What else than running most of a frame's time was, where that is some. */
function waits(state: State, tree: CallTree, node: number): [string, string][] {
  if (!state.waits) return [];
  const times = state.doings(tree)(node);
  const whole = times.reduce((sum, time) => sum + time, 0);
  return times
    .map((time, doing) => ({ time, doing }))
    .filter(({ time, doing }) => doing !== RUNNING && time >= 0.01 * whole && time > 0)
    .sort((a, b) => b.time - a.time)
    .slice(0, 3)
    .map(({ time, doing }, i) => [i === 0 ? 'Of it' : '', `${format.share(time, whole)} ${DOINGS[doing]}`]);
}

/** `ownTime` is false for trees of callers, whose frames stand for time further down. */
export function describe(state: State, tree: CallTree, node: number, ownTime = !state.choices.inverted): Described {
  const func = functionOf(tree, node);
  const whole = tree.total[0];
  const time = (ns: number): string => `${format.duration(ns)} · ${format.share(ns, whole)}`;
  const { names, data } = state;
  const lines = func === null ? [] : hotLines(data, tree, node).filter(({ line }) => line > 0);
  const lineTotal = lines.reduce((sum, { weight }) => sum + weight, 0);
  const { baseline } = tree;
  return {
    title: title(state, tree, node),
    whole: func !== null ? names.whole(func) : '',
    module: func !== null ? names.place(func).module : '',
    native: func !== null && names.native(func),
    location: func !== null ? names.location(func) : '',
    path: func !== null ? names.place(func).path : '',
    figures: [
      ['Total', time(tree.total[node])],
      ...(ownTime ? ([['Self', time(tree.self[node])]] as [string, string][]) : []),
      ['Samples', format.count(tree.totalCount[node])],
      ...waits(state, tree, node),
      ...(baseline
        ? ([
            ['Change', `${format.change(tree.total[node] - baseline[node])} (was ${format.duration(baseline[node])})`],
            ...(func !== null && state.quiet?.[func] ? [['Share', 'within noise']] : []),
          ] as [string, string][])
        : []),
    ],
    lines:
      lines.length > 1 || (lines.length === 1 && func !== null && lines[0].line !== data.funcLine[func])
        ? lines
            .slice(0, 3)
            .map(({ line, weight }) => ({ text: `line ${line}`, share: format.share(weight, lineTotal) }))
        : [],
  };
}
