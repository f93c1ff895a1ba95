// Owns the icicle and flame views: the aggregated call tree with its zoom and its way back.

import { type ChartModel, FlameChart } from '../canvas/flame-chart';
import { ROW } from '../canvas/plot';
import type { Profile } from '../profile/container';
import type { Layout } from '../profile/layout';
import { functionOf, pathOf } from '../profile/tree';
import type { ViewName } from '../state/choices';
import { describe, module, native, spoken, title } from '../state/describe';
import type { State } from '../state/state';
import type { Context, Crumb, View } from './view';

/** Everything a chart asks about the frames of a tree. */
export function chartModel(state: State, layout: Layout): ChartModel {
  const { tree } = layout;
  return {
    layout,
    painter: state.painter(tree),
    dark: state.dark,
    matches: state.matches,
    title: (node) => title(state, tree, node),
    module: (node) => module(state, tree, node),
    native: (node) => native(state, tree, node),
    spoken: (node) => spoken(state, tree, node),
  };
}

/** More crumbs than this keep both ends of the way and lose its middle. */
const CRUMBS = 7;

export class TreeView implements View {
  readonly chart: FlameChart;
  private shown: { profile: Profile; layout: Layout; view: ViewName } | null = null;

  constructor(private readonly context: Context) {
    const { state } = context;
    this.chart = new FlameChart('Call tree', {
      select: (node) => {
        const func = functionOf(state.aggregate.tree, node);
        context.select(func !== null ? { func, stack: state.stackOf(node) } : null);
      },
      zoom: (node) => state.update({ zoom: pathOf(state.aggregate.tree, node) }),
      hover: (node, event) => context.tip(node >= 0 ? describe(state, state.aggregate.tree, node) : null, event),
      actions: () => context.actions(),
      resized: () => context.resized(),
    });
  }

  get element(): HTMLElement {
    return this.chart.element;
  }

  get height(): number {
    return Math.max(8, this.chart.rows) * ROW + 6;
  }

  show(): void {
    const { state } = this.context;
    const { layout } = state.aggregate;
    const model = chartModel(state, layout);
    const selected = state.selectedNode();
    const { view } = state.choices;
    const { shown } = this;
    this.shown = { profile: state.whole, layout, view };
    if (shown?.layout === layout && shown.view === view) {
      this.chart.update(model, selected);
      return;
    }
    const keepWindow = shown !== null && shown.profile !== state.whole;
    this.chart.show(model, { zoom: state.zoomedNode(), selected, keepWindow, bottomUp: view === 'flame' });
  }

  focus(): void {
    this.chart.focus();
  }

  back(): boolean {
    const { state } = this.context;
    const zoomed = state.zoomedNode();
    if (zoomed > 0) this.chart.zoomTo(state.aggregate.tree.parent[zoomed]);
    else if (this.chart.isZoomed) this.chart.zoomTo(0);
    else return false;
    return true;
  }

  reveal(node: number): void {
    this.chart.zoomTo(node);
  }

  reset(): void {
    this.chart.zoomTo(0);
  }

  crumbs(): Crumb[] {
    const { state } = this.context;
    const { tree } = state.aggregate;
    const chain: number[] = [];
    for (let node = state.zoomedNode(); node > 0; node = tree.parent[node]) chain.push(node);
    if (chain.length === 0) return [];
    const crumb = (node: number): Crumb => ({
      text: node === 0 ? 'All' : title(state, tree, node),
      go: () => {
        this.chart.zoomTo(node);
        this.chart.focus();
      },
    });
    const crumbs = [0, ...chain.reverse()].map(crumb);
    if (crumbs.length > CRUMBS) {
      const middle = crumbs[crumbs.length - CRUMBS + 2];
      crumbs.splice(2, crumbs.length - CRUMBS + 1, { text: '…', go: middle.go });
    }
    return crumbs;
  }

  dispose(): void {
    this.chart.dispose();
  }
}
