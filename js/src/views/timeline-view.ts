// Owns the timeline view: which lanes there are, what their spans mean, and the way from a stretch of time to
// the call tree of it.

import { type LaneCall, Lanes, type LanesModel } from '../canvas/lanes';
import { OVERVIEW_HEIGHT, Overview } from '../canvas/overview';
import { button, h } from '../dom/elements';
import type { Profile } from '../profile/container';
import * as format from '../profile/format';
import { regionsOf } from '../profile/regions';
import type { FuncRow, StackRow, ThreadRow } from '../profile/rows';
import { type Lane, timeExtent } from '../profile/timeline';
import type { Described } from '../state/describe';
import { threadLabel } from '../state/describe';
import type { Context, Crumb, View } from './view';

export class TimelineView implements View {
  readonly element: HTMLElement;
  private readonly plot: Lanes;
  private readonly overview: Overview;
  private readonly foldAll = button('', { class: 'sp-fold-all' }, () => this.toggleAll());
  private shown: { profile: Profile; lanes: readonly Lane[] } | null = null;

  constructor(private readonly context: Context) {
    this.plot = new Lanes({
      select: ({ func, stack }) => context.select({ func, stack: this.stackOf(stack) }),
      hover: (call, event) => context.tip(call ? this.described(call) : null, event),
      region: (text) => {
        const { tree } = context.state.choices;
        context.state.updateTree({ region: tree.region === text ? null : text });
      },
      fold: (thread, folded) => this.fold(thread, folded),
      actions: () => context.actions(),
      moved: () => {
        this.overview.setWindow(this.plot.windowShown);
        context.moved();
      },
    });
    this.overview = new Overview({ moved: ({ from, to }) => this.plot.showTime(from, to) });
    const lanes = h('div', { class: 'sp-lanes' }, this.plot.element, this.foldAll);
    this.element = h('div', { class: 'sp-timeline' }, this.overview.element, lanes);
  }

  get height(): number {
    return OVERVIEW_HEIGHT + this.plot.contentHeight() + 4;
  }

  private fold(thread: ThreadRow, folded: boolean): void {
    const { state } = this.context;
    const lanes = new Set(state.choices.foldedLanes);
    if (folded) lanes.add(thread);
    else lanes.delete(thread);
    state.update({ foldedLanes: lanes });
  }

  /** Folds all lanes, or opens all where none is open. */
  private toggleAll(): void {
    const { state } = this.context;
    const open = state.lanes.some(({ thread }) => !state.choices.foldedLanes.has(thread));
    state.update({ foldedLanes: new Set(open ? state.lanes.map(({ thread }) => thread) : []) });
  }

  show(): void {
    const { state } = this.context;
    const { names, lanes, data: profile } = state;
    const model: LanesModel = {
      lanes,
      regions: state.regionLanes,
      regionText: (region) => regionsOf(state.whole).texts[region],
      extent: timeExtent(profile),
      painter: state.functionPainter,
      dark: state.dark,
      matches: state.matches,
      folded: state.choices.foldedLanes,
      selectedFunc: state.choices.selection?.func ?? null,
      laneTitle: (lane) => this.laneTitle(lane),
      title: (func) => names.title(func),
      module: (func) => names.module(func),
      native: (func) => names.native(func),
      spoken: (lane, span) => this.spoken(lane, span),
    };
    const { shown } = this;
    this.shown = { profile, lanes };
    if (shown?.lanes === lanes) this.plot.update(model);
    else this.plot.show(model, { keepWindow: shown !== null && shown.profile !== profile });
    this.overview.show(lanes, model.extent);
    this.overview.setWindow(this.plot.windowShown);
    this.foldAll.hidden = lanes.length < 2;
    const open = lanes.some(({ thread }) => !model.folded.has(thread));
    this.foldAll.textContent = open ? 'Fold all' : 'Open all';
    this.foldAll.title = open ? 'Show no more than the heads of the lanes' : 'Show the calls of all lanes';
  }

  /** `MainThread · 2.7 s · waited 12 % · held the GIL 80 %`. */
  private laneTitle(lane: Lane): string {
    const { state } = this.context;
    const { weight, waited, gilShare } = state.threadTimes[lane.thread];
    return [
      threadLabel(state, lane.thread),
      format.duration(weight),
      ...(waited > 0 ? [`waited ${format.share(waited, 1)}`] : []),
      ...(gilShare !== null ? [`held the GIL ${format.share(gilShare, 1)}`] : []),
    ].join(' · ');
  }

  private stackOf(innermost: StackRow): FuncRow[] {
    const { stackParent, stackFrame, frameFunc } = this.context.state.data;
    const stack: FuncRow[] = [];
    for (let at = innermost; at >= 0; at = stackParent[at]) stack.push(frameFunc[stackFrame[at]]);
    return stack.reverse();
  }

  /** `fit, sklearn/linear_model/_base.py:123, 340 ms from 1.2 s, MainThread`. */
  private spoken(lane: Lane, span: number): string {
    const { state } = this.context;
    const func = lane.func[span];
    const line = state.data.frameLine[state.data.stackFrame[lane.stack[span]]];
    const time = `${format.duration(lane.end[span] - lane.start[span])} from ${format.duration(Math.round(lane.start[span]))}`;
    return `${state.names.name(func)}, ${state.names.location(func, line || undefined)}, ${time}, ${threadLabel(state, lane.thread)}`;
  }

  private described({ lane, func, start, end }: LaneCall): Described {
    const { state } = this.context;
    const { names } = state;
    const row = state.table.find((candidate) => candidate.func === func);
    return {
      title: names.title(func),
      whole: names.whole(func),
      module: names.place(func).module,
      native: names.native(func),
      location: names.location(func),
      path: names.place(func).path,
      figures: [
        ['Lasts', format.duration(end - start)],
        ['Starts at', format.duration(Math.round(start))],
        ['Thread', threadLabel(state, lane.thread)],
        ...(row
          ? ([['Everywhere', `${format.duration(row.total)} · ${format.share(row.total, state.tree.total[0])}`]] as [
              string,
              string,
            ][])
          : []),
      ],
      lines: [],
    };
  }

  focus(): void {
    this.plot.focus();
  }

  back(): boolean {
    if (!this.plot.isZoomed) return false;
    this.plot.zoomOut();
    return true;
  }

  reset(): void {
    this.plot.zoomOut();
  }

  crumbs(): Crumb[] {
    const all = { text: 'All', go: () => this.plot.zoomOut() };
    // There even if it is the only one: what lies below must not move while the pointer draws a window on it.
    if (!this.plot.isZoomed) return [all];
    const { from, to } = this.plot.windowShown;
    const { state } = this.context;
    return [
      all,
      { text: `${format.duration(Math.round(from))} – ${format.duration(Math.round(to))}`, go: () => undefined },
      {
        text: 'Call tree of this time',
        action: true,
        go: () => state.update({ view: 'icicle', zoom: [], tree: { ...state.choices.tree, range: [from, to] } }),
      },
    ];
  }

  dispose(): void {
    this.overview.dispose();
    this.plot.dispose();
  }
}
