// Owns one call tree on a canvas: frames, labels, marks. Knows nothing of where the tree comes from or what
// else is on screen.

import { css, type Painter, SCHEMES } from '../profile/colors';
import { type Direction, deepest, type Layout, neighbour, nodeAtPoint, visit } from '../profile/layout';
import type { Marks } from '../profile/search';
import { isFunction } from '../profile/tree';
import { type Item, MIN_ITEM_PIXELS, MIN_PIXELS, PAD, Plot, ROW } from './plot';

export interface ChartModel {
  layout: Layout;
  painter: Painter;
  dark: boolean;
  /** By function: 1 where the search matches; null where nothing is searched. */
  matches: Marks | null;
  title(node: number): string;
  module(node: number): string;
  native(node: number): boolean;
  /** What a screen reader says of a node. */
  spoken(node: number): string;
}

export interface ChartEvents {
  select(node: number): void;
  /** Zoomed to a node, or back to 0. */
  zoom(node: number): void;
  /** It has more or fewer rows than before. */
  resized?(): void;
  hover(node: number, event: PointerEvent | null): void;
  actions(node: number): void;
}

export class FlameChart extends Plot {
  private model: ChartModel | null = null;
  private zoomedNode = 0;
  private selected = -1;
  private depths: { layout: Layout; below: Int32Array } | null = null;
  /** When the height of the content was last said. */
  private saidRows = 0;
  /** The depth drawn first: more than 0 where what is above is seen elsewhere. */
  private readonly firstDepth: number;

  constructor(
    label: string,
    private readonly events: ChartEvents,
    options: { firstDepth?: number } = {},
  ) {
    super(label);
    this.firstDepth = options.firstDepth ?? 0;
  }

  /** Shows a model; with `keepWindow` the window stays where it was, in shares of the whole. */
  show(model: ChartModel, options: { zoom: number; selected: number; keepWindow: boolean; bottomUp: boolean }): void {
    const before = this.model;
    const turned = !before || this.bottomUp !== options.bottomUp;
    const scale = before && before.layout.width > 0 ? model.layout.width / before.layout.width : 0;
    const free = before !== null && !this.windowIs(this.zoomedNode, before.layout);
    this.model = model;
    this.dark = model.dark;
    this.selected = options.selected;
    this.bottomUp = options.bottomUp;
    this.zoomedNode = options.zoom;
    if (options.keepWindow && free && scale > 0) {
      this.from *= scale;
      this.to *= scale;
    } else {
      [this.from, this.to] = this.windowOf(options.zoom, model.layout);
    }
    this.replaced({ turned });
    this.saidRows = this.rows;
  }

  /** Search, selection or colours changed; the tree has not. */
  update(model: ChartModel, selected: number): void {
    this.model = model;
    this.dark = model.dark;
    this.selected = selected;
    this.redraw();
    this.itemsLater();
  }

  /** Down to the deepest call of what fills the width; of all, where the window lies elsewhere. */
  get rows(): number {
    if (!this.model) return 0;
    const { layout } = this.model;
    if (this.depths?.layout !== layout) this.depths = { layout, below: deepest(layout.tree) };
    const node = this.windowIs(this.zoomedNode, layout) ? this.zoomedNode : 0;
    return this.depths.below[node] + 1 - this.firstDepth;
  }

  protected override moved(): void {
    if (this.rows === this.saidRows) return;
    this.saidRows = this.rows;
    this.fitContent();
    this.events.resized?.();
  }

  /** Whether the window shows less than the whole. */
  get isZoomed(): boolean {
    return this.model !== null && !this.windowIs(0, this.model.layout);
  }

  zoomTo(node: number, animate = true): void {
    if (!this.model) return;
    this.zoomedNode = node;
    const [from, to] = this.windowOf(node, this.model.layout);
    this.moveTo(from, to, animate);
    this.reveal(this.top(this.model.layout.tree.depth[node]));
    this.events.zoom(node);
  }

  private windowOf(node: number, layout: Layout): [number, number] {
    const from = layout.start[node];
    const width = layout.tree.extent[node];
    return width > 0 ? [from, from + width] : [0, Math.max(layout.width, 1)];
  }

  private windowIs(node: number, layout: Layout): boolean {
    if (node >= layout.tree.length) return false;
    const [from, to] = this.windowOf(node, layout);
    const target = this.target();
    const slack = (to - from) * 1e-6;
    return Math.abs(target.from - from) <= slack && Math.abs(target.to - to) <= slack;
  }

  protected extent(): [number, number] {
    return [0, this.model?.layout.width || 1];
  }

  protected contentHeight(): number {
    return this.rows * ROW + 2;
  }

  private top(depth: number): number {
    return this.bottomUp
      ? Math.max(this.contentHeight(), this.height) - (depth - this.firstDepth + 1) * ROW - 1
      : (depth - this.firstDepth) * ROW + 1;
  }

  private depthAt(y: number): number {
    const row = this.bottomUp
      ? Math.floor((Math.max(this.contentHeight(), this.height) - 1 - y) / ROW)
      : Math.floor((y - 1) / ROW);
    return row < 0 ? -1 : row + this.firstDepth;
  }

  protected hit(x: number, y: number): number {
    return this.model ? nodeAtPoint(this.model.layout, x, this.depthAt(y)) : -1;
  }

  protected paint(scale: number, scroll: number): void {
    const { model, pen, width, height } = this;
    if (!model) return;
    const { layout, painter, matches } = model;
    const { tree, start } = layout;
    const scheme = SCHEMES[model.dark ? 'dark' : 'light'];
    const depths = [this.depthAt(scroll), this.depthAt(scroll + height)].sort((a, b) => a - b);
    const { palette } = painter;
    const colors: string[] = [];
    const labelled: number[] = [];
    const hatched: number[] = [];
    const rest = css(scheme.rest);
    const unmatched = css(scheme.unmatched);
    let current = '';
    const fill = (color: string): void => {
      if (color !== current) pen.fillStyle = current = color;
    };
    visit(
      layout,
      {
        from: this.from,
        to: this.to,
        minDepth: Math.max(this.firstDepth, depths[0]),
        maxDepth: depths[1],
        minWidth: MIN_PIXELS / scale,
      },
      (node) => {
        const left = Math.max(-2, (start[node] - this.from) * scale);
        const wide = Math.min(width + 2, (start[node] + tree.extent[node] - this.from) * scale) - left;
        const key = tree.key[node];
        if (matches && !(isFunction(key) && matches[key])) {
          fill(unmatched);
        } else {
          const row = painter.row(node);
          fill((colors[row] ??= css(palette[row])));
        }
        pen.fillRect(left, this.top(tree.depth[node]) - scroll, wide > 2 ? wide - 1 : wide, ROW - 1);
        if (wide > 6 && key >= 0 && model.native(node)) hatched.push(node);
        if (wide > 22) labelled.push(node);
      },
      (from, to, depth) => {
        const left = Math.max(0, (from - this.from) * scale);
        const right = Math.min(width, (to - this.from) * scale);
        fill(rest);
        pen.fillRect(left, this.top(depth) - scroll, Math.max(0.5, right - left), ROW - 1);
      },
    );
    const hatch = hatched.length > 0 ? this.hatching() : null;
    if (hatch) {
      pen.fillStyle = hatch;
      for (const node of hatched) {
        const left = Math.max(-2, (start[node] - this.from) * scale);
        const right = Math.min(width + 2, (start[node] + tree.extent[node] - this.from) * scale);
        pen.fillRect(left, this.top(tree.depth[node]) - scroll, right - left - 1, ROW - 1);
      }
    }
    this.paintLabels(model, labelled, scale, scroll);
    this.paintMarks(model, scale, scroll);
  }

  private paintLabels(model: ChartModel, nodes: number[], scale: number, scroll: number): void {
    const { pen, width } = this;
    const { tree, start } = model.layout;
    const scheme = SCHEMES[model.dark ? 'dark' : 'light'];
    const text = css(scheme.text);
    const dim = css(scheme.dimText);
    pen.textBaseline = 'middle';
    for (const italic of [false, true]) {
      const meter = italic ? this.meters.italic : this.meters.normal;
      pen.font = meter.font;
      for (const node of nodes) {
        if (model.native(node) !== italic) continue;
        const left = Math.max(0, (start[node] - this.from) * scale);
        const right = Math.min(width, (start[node] + tree.extent[node] - this.from) * scale);
        const room = right - left - 2 * PAD;
        const title = model.title(node);
        const shown = meter.fit(title, room);
        if (shown === '') continue;
        const y = this.top(tree.depth[node]) - scroll + ROW / 2;
        pen.fillStyle = text;
        pen.fillText(shown, left + PAD, y);
        const after = meter.width(shown) + 7;
        if (shown !== title || room - after < 30) continue;
        const module = meter.fit(model.module(node), room - after);
        if (module === '') continue;
        pen.fillStyle = dim;
        pen.fillText(module, left + PAD + after, y);
      }
    }
  }

  private paintMarks(model: ChartModel, scale: number, scroll: number): void {
    const { pen, width } = this;
    const { tree, start } = model.layout;
    const outline = (node: number, line: number, color: string): void => {
      const left = Math.max(-3, (start[node] - this.from) * scale);
      const right = Math.min(width + 3, (start[node] + tree.extent[node] - this.from) * scale);
      if (right < 0 || left > width) return;
      pen.strokeStyle = color;
      pen.lineWidth = line;
      pen.strokeRect(
        left + line / 2,
        this.top(tree.depth[node]) - scroll + line / 2 - 0.5,
        Math.max(1, right - left - line - 0.5),
        ROW - line,
      );
    };
    if (this.hovered >= 0) outline(this.hovered, 1, this.color('--sp-fg'));
    if (this.selected >= 0) outline(this.selected, 2, this.color('--sp-accent'));
  }

  protected clicked(node: number): void {
    if (node < 0) return;
    this.events.select(node);
    this.zoomTo(node);
  }

  protected hover(node: number, event: PointerEvent | null): void {
    this.events.hover(node, event);
  }

  protected menu(node: number): void {
    this.events.select(node);
    this.events.actions(node);
  }

  protected override focused(): void {
    // A reader who arrives by keyboard is somewhere from the start.
    if (this.selected < 0) this.selected = this.zoomedNode;
    this.redraw();
  }

  protected onItemKey(event: KeyboardEvent): boolean {
    const { model } = this;
    if (!model || event.shiftKey) return false;
    const at = this.selected >= 0 ? this.selected : this.zoomedNode;
    const steps: Record<string, Direction> = {
      [this.bottomUp ? 'ArrowUp' : 'ArrowDown']: 'callee',
      [this.bottomUp ? 'ArrowDown' : 'ArrowUp']: 'caller',
      ArrowLeft: 'previous',
      ArrowRight: 'next',
    };
    const step = steps[event.key];
    if (step) {
      const next = neighbour(model.layout, at, step);
      this.events.select(next);
      this.selected = next;
      this.bringIntoWindow(next, model.layout);
    } else if (event.key === 'Enter' || event.key === ' ') {
      this.zoomTo(at);
    } else if (event.key === 'Home' || event.key === '0') {
      this.zoomTo(0);
    } else {
      return false;
    }
    return true;
  }

  private bringIntoWindow(node: number, layout: Layout): void {
    const { from, to } = this.target();
    const [left, right] = this.windowOf(node, layout);
    if (right <= from || left >= to) this.panTo((left + right - (to - from)) / 2, to - from, true);
    this.reveal(this.top(layout.tree.depth[node]));
  }

  protected itemsInSight(scale: number, from: number, to: number): Item[] {
    const { model } = this;
    if (!model) return [];
    const { tree, start } = model.layout;
    const items: Item[] = [];
    const add = (node: number): void => {
      items.push({
        id: node,
        left: (start[node] - from) * scale,
        width: tree.extent[node] * scale,
        top: this.top(tree.depth[node]),
        level: tree.depth[node] + 1,
        get label() {
          return model.spoken(node);
        },
        selected: node === this.selected,
        expanded: tree.childStart[node] < tree.childStart[node + 1],
      });
    };
    visit(
      model.layout,
      { from, to, minDepth: this.firstDepth, maxDepth: tree.maxDepth, minWidth: MIN_ITEM_PIXELS / scale },
      add,
      () => undefined,
    );
    if (this.selected >= 0 && !items.some(({ selected }) => selected)) add(this.selected);
    return items;
  }
}
