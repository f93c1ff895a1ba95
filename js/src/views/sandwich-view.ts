// Owns the sandwich view: the list of functions, and for the selected one its callers above, its callees below.

import { FlameChart } from '../canvas/flame-chart';
import { h } from '../dom/elements';
import { type Layout, layOut } from '../profile/layout';
import type { FuncRow } from '../profile/rows';
import { sandwich } from '../profile/sandwich';
import { functionOf, isFunction, pathOf } from '../profile/tree';
import { describe } from '../state/describe';
import { TableView } from './table-view';
import { chartModel } from './tree-view';
import type { Change, Context, Crumb, View } from './view';

export class SandwichView implements View {
  readonly element: HTMLElement;
  readonly height = 460;
  private readonly table: TableView;
  private readonly callers: FlameChart;
  private readonly callees: FlameChart;
  private readonly charts = h('div', { class: 'sp-sandwich-charts' });
  private readonly hint = h('p', { class: 'sp-empty' }, 'Nothing was sampled');
  private layouts: { callers: Layout; callees: Layout } | null = null;
  private func: FuncRow | null = null;
  private revision = -1;

  constructor(private readonly context: Context) {
    this.table = new TableView(context, () => this.callees.focus(), true);
    this.callers = this.chart('Callers', 'callers');
    this.callees = this.chart('Callees', 'callees');
    const part = (title: string, chart: FlameChart): HTMLElement =>
      h('div', { class: 'sp-half' }, h('span', { class: 'sp-half-title' }, title), chart.element);
    this.charts.append(part('Callers', this.callers), part('Callees', this.callees), this.hint);
    this.element = h('div', { class: 'sp-sandwich' }, this.table.element, this.charts);
  }

  private chart(label: string, side: 'callers' | 'callees'): FlameChart {
    const { context } = this;
    const { state } = context;
    const treeOf = (): Layout | null => this.layouts?.[side] ?? null;
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
      { hideRoot: true },
    );
  }

  show({ data }: Change): void {
    const { state, dark } = this.context;
    this.table.show();
    // Without a selection, what burns most is what one asks about first.
    const func = state.choices.selection?.func ?? state.busiest();
    this.charts.classList.toggle('sp-nothing', func === null);
    if (func === null) {
      this.func = null;
      return;
    }
    const anew = func !== this.func || this.revision !== state.treeRevision;
    this.func = func;
    this.revision = state.treeRevision;
    if (anew || !this.layouts) {
      const { callers, callees } = sandwich(state.tree, state.functions, func);
      this.layouts = { callers: layOut(callers), callees: layOut(callees) };
    }
    for (const [chart, side] of [
      [this.callers, 'callers'],
      [this.callees, 'callees'],
    ] as const) {
      const layout = this.layouts[side];
      const model = chartModel(state, layout, dark);
      // The function itself is the first level; the root above it would only repeat it.
      const selected = layout.tree.length > 1 ? 1 : 0;
      if (anew) chart.show(model, { zoom: 0, selected, keepWindow: data, bottomUp: side === 'callers' });
      else chart.update(model, selected);
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
