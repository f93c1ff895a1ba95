// Owns the timeline view: which lanes there are, what their spans mean, and the way from a stretch of time to
// the call tree of it.

import { type LaneCall, Lanes, type LanesModel } from '../canvas/lanes';
import type { Profile } from '../profile/container';
import * as format from '../profile/format';
import { regionsOf } from '../profile/regions';
import type { FuncRow, StackRow } from '../profile/rows';
import { type Lane, timeExtent } from '../profile/timeline';
import type { Described } from '../state/describe';
import { threadLabel } from '../state/describe';
import type { Context, Crumb, View } from './view';

export class TimelineView implements View {
  private readonly plot: Lanes;
  private shown: { profile: Profile; lanes: readonly Lane[] } | null = null;

  constructor(private readonly context: Context) {
    this.plot = new Lanes({
      select: ({ func, stack }) => context.select({ func, stack: this.stackOf(stack) }),
      hover: (call, event) => context.tip(call ? this.described(call) : null, event),
      region: (text) => {
        const { tree } = context.state.choices;
        context.state.updateTree({ region: tree.region === text ? null : text });
      },
      actions: () => context.actions(),
      moved: () => context.moved(),
    });
  }

  get element(): HTMLElement {
    return this.plot.element;
  }

  get height(): number {
    return this.plot.contentHeight() + 4;
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
    if (!this.plot.isZoomed) return [];
    const { from, to } = this.plot.windowShown;
    const { state } = this.context;
    return [
      { text: 'All', go: () => this.plot.zoomOut() },
      { text: `${format.duration(Math.round(from))} – ${format.duration(Math.round(to))}`, go: () => undefined },
      {
        text: 'Call tree of this time',
        action: true,
        go: () => state.update({ view: 'icicle', zoom: [], tree: { ...state.choices.tree, range: [from, to] } }),
      },
    ];
  }

  dispose(): void {
    this.plot.dispose();
  }
}
