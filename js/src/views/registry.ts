// Owns the list of views: what each is called, what it is for, and how it is made.
import type { ViewName } from '../state/choices';
import { CallTreeView } from './call-tree-view';
import { SandwichView } from './sandwich-view';
import { SourceView } from './source-view';
import { SpeedscopeView } from './speedscope-view';
import { TableView } from './table-view';
import { TimelineView } from './timeline-view';
import { TreeView } from './tree-view';
import type { Context, View } from './view';

export interface ViewKind {
  readonly title: string;
  /** What it shows; said of its button. */
  readonly hint: string;
  /** What a reader can do in it; said while nothing is selected. */
  readonly help: string;
  /** Kinds that are made by the same function share one view. */
  readonly make: (context: Context) => View;
}

const CHART = 'Click a frame to zoom in, Ctrl + wheel zooms, drag pans, Esc goes back, / searches';
const tree = (context: Context): View => new TreeView(context);

export const VIEW_KINDS: Record<ViewName, ViewKind> = {
  icicle: { title: 'Icicle', hint: 'Calls from the root downwards, heaviest first', help: CHART, make: tree },
  flame: { title: 'Flame', hint: 'Calls from the root upwards, heaviest first', help: CHART, make: tree },
  tree: {
    title: 'Tree',
    hint: 'Who called whom, as a list that opens',
    help: 'Click ▸ or press → to open an entry, ← to close it; / searches',
    make: (context) => new CallTreeView(context),
  },
  timeline: {
    title: 'Timeline',
    hint: 'Calls in the order of time, one lane a thread',
    help: `Above each lane: filled where it ran, outlined where it waited, in the colour of the cause; a line below while it held the GIL. ${CHART}`,
    make: (context) => new TimelineView(context),
  },
  table: {
    title: 'Table',
    hint: 'Functions with their own and their total time',
    help: 'Click a function to select it, twice for its callers and callees; / searches',
    make: (context) => new TableView(context, () => context.state.update({ view: 'sandwich' })),
  },
  sandwich: {
    title: 'Sandwich',
    hint: 'Callers and callees of one function',
    help: 'Click a function in the list; click a frame to zoom, Esc goes back',
    make: (context) => new SandwichView(context),
  },
  source: {
    title: 'Source',
    hint: 'Time line by line',
    help: '',
    make: (context) => new SourceView(context),
  },
  speedscope: {
    title: 'Speedscope',
    hint: 'This profile in the bundled Speedscope',
    help: '',
    make: (context) => new SpeedscopeView(context),
  },
};
