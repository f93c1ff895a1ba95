// Owns the sandwich view: the list of functions, and for the selected one its callers above, its callees below.

import { FlameChart } from '../canvas/flame-chart';
import { h } from '../dom/elements';
import type { Profile } from '../profile/container';
import type { Layout } from '../profile/layout';
import { functionOf, isFunction, pathOf } from '../profile/tree';
import { describe } from '../state/describe';
import type { Halves } from '../state/state';
import { TableView } from './table-view';
import { chartModel } from './tree-view';
import type { Context, Crumb, View } from './view';

export class SandwichView implements View {
  readonly element: HTMLElement;
  readonly height = 460;
  private readonly table: TableView;
  private readonly callers: FlameChart;
  private readonly callees: FlameChart;
  private readonly charts = h('div', { class: 'sp-sandwich-charts' });
  private readonly hint = h('p', { class: 'sp-empty' }, 'Nothing was sampled');
  private readonly leaf = h('p', { class: 'sp-empty sp-leaf' }, 'It calls nothing that was sampled');
  private shown: { profile: Profile; halves: Halves } | null = null;

  constructor(private readonly context: Context) {
    this.table = new TableView(context, () => this.callees.focus(), true);
    this.callers = this.chart('Callers', 'callers');
    this.callees = this.chart('Callees', 'callees');
    const part = (title: string, chart: FlameChart, ...more: HTMLElement[]): HTMLElement =>
      h('div', { class: 'sp-half' }, h('span', { class: 'sp-half-title' }, title), ...more, chart.element);
    this.charts.append(part('Callers', this.callers), part('Callees', this.callees, this.leaf), this.hint);
    this.element = h('div', { class: 'sp-sandwich' }, this.table.element, this.charts);
  }

  private chart(label: string, side: 'callers' | 'callees'): FlameChart {
    const { context } = this;
    const { state } = context;
    const treeOf = (): Layout | null => this.shown?.halves[side] ?? null;
    return new FlameChart(
      label,
      {
        // A click zooms; the function in the middle stays, or the view would jump away under the pointer.
        select: () => undefined,
        zoom: () => undefined,
        hover: (node, event) => {
          const layout = treeOf();
          context.tip(layout && node >= 0 ? describe(state, layout.tree, node, side === 'callees') : null, event);
        },
        actions: (node) => {
          const layout = treeOf();
          if (!layout) return;
          const path = pathOf(layout.tree, node).filter(isFunction);
          const func = functionOf(layout.tree, node);
          if (func !== null) context.select({ func, stack: side === 'callees' ? [] : path.reverse() });
        },
      },
      // The whole would only repeat the function, which stands once, below its callers and above what it calls.
      { firstDepth: side === 'callers' ? 1 : 2 },
    );
  }

  show(): void {
    const { state } = this.context;
    this.table.show();
    const { halves, data: profile } = state;
    this.charts.classList.toggle('sp-nothing', halves === null);
    const { shown } = this;
    this.shown = halves && { profile, halves };
    if (halves === null) return;
    this.leaf.hidden = halves.callees.tree.maxDepth > 1;
    for (const [chart, side] of [
      [this.callers, 'callers'],
      [this.callees, 'callees'],
    ] as const) {
      const layout = halves[side];
      const model = chartModel(state, layout);
      const selected = side === 'callers' && layout.tree.length > 1 ? 1 : -1;
      const keepWindow = shown !== null && shown.profile !== profile;
      if (shown?.halves === halves) chart.update(model, selected);
      else chart.show(model, { zoom: 0, selected, keepWindow, bottomUp: side === 'callers' });
    }
  }

  focus(): void {
    this.table.focus();
  }

  back(): boolean {
    let zoomed = false;
    for (const chart of [this.callers, this.callees]) {
      if (!chart.isZoomed) continue;
      chart.zoomTo(0);
      zoomed = true;
    }
    return zoomed;
  }

  reset(): void {
    this.back();
    this.table.reset();
  }

  crumbs(): Crumb[] {
    return [];
  }

  dispose(): void {
    this.table.dispose();
    this.callers.dispose();
    this.callees.dispose();
  }
}
