// Owns one call tree on a canvas: drawing, zoom and pan, hit tests, and the same frames as an ARIA tree.
// Knows nothing of where the tree comes from or what else is on screen.
import { css, SCHEMES, type Painter } from '../profile/colors';
import { neighbour, nodeAtPoint, visit, type Layout } from '../profile/layout';
import { clamp, h, reducedMotion } from './dom';
import { TextMeter } from './text';

export const ROW = 21;
const FONT_FAMILY = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const FONT = `12px ${FONT_FAMILY}`;
const PAD = 5;
const ANIMATION_MS = 160;
/** Frames narrower than this many pixels run together. */
const MIN_PIXELS = 0.5;
const MIN_ITEM_PIXELS = 3;
const MAX_ITEMS = 400;
const SETTLE_MS = 90;

export interface ChartModel {
  layout: Layout;
  painter: Painter;
  dark: boolean;
  /** By function: 1 where the search matches; null where nothing is searched. */
  matches: Uint8Array | null;
  selectedFunc: number;
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
  hover(node: number, event: PointerEvent | null): void;
  actions(node: number): void;
}

let charts = 0;

export class FlameChart {
  readonly element: HTMLElement;
  private readonly canvas = h('canvas', { class: 'sp-canvas', 'aria-hidden': 'true' });
  private readonly items: HTMLElement;
  private readonly spacer = h('div', { class: 'sp-spacer' });
  private readonly context: CanvasRenderingContext2D;
  private readonly observer: ResizeObserver;
  private readonly id = `sp-chart-${++charts}`;
  private model: ChartModel | null = null;
  private meters: { normal: TextMeter; italic: TextMeter } | null = null;
  private hatch: CanvasPattern | null = null;
  private hatchDark = false;
  private from = 0;
  private to = 1;
  private zoomedNode = 0;
  private selected = -1;
  private hovered = -1;
  private frame = 0;
  private animation: { from: number; to: number; targetFrom: number; targetTo: number; start: number } | null = null;
  private settle = 0;
  private width = 0;
  private height = 0;
  private bottomUp = false;
  private wasAtBottom = true;

  constructor(
    label: string,
    private readonly events: ChartEvents,
  ) {
    this.items = h('div', { class: 'sp-items', role: 'tree', tabindex: '0', 'aria-label': label });
    this.element = h('div', { class: 'sp-chart' }, this.canvas, this.spacer, this.items);
    const context = this.canvas.getContext('2d', { alpha: true });
    if (!context) throw new Error('this browser has no 2D canvas');
    this.context = context;
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.element);
    this.element.addEventListener('scroll', () => {
      this.wasAtBottom = this.element.scrollTop + this.height >= this.contentHeight() - 2;
      this.redraw();
    });
    this.bindPointer();
    this.items.addEventListener('keydown', (event) => this.onKey(event));
    this.items.addEventListener('focus', () => {
      if (this.selected < 0 && this.model) this.select(this.zoomedNode, false);
      this.redraw();
    });
    this.items.addEventListener('blur', () => this.redraw());
  }

  /** Shows a model; the window is kept as asked, in shares of the whole when the tree has changed. */
  show(model: ChartModel, options: { zoom: number; selected: number; keepWindow: boolean; bottomUp: boolean }): void {
    const before = this.model;
    const scale = before && before.layout.width > 0 ? model.layout.width / before.layout.width : 0;
    this.model = model;
    this.selected = options.selected;
    this.hovered = -1;
    const turned = this.bottomUp !== options.bottomUp;
    this.bottomUp = options.bottomUp;
    this.element.classList.toggle('sp-bottom-up', options.bottomUp);
    if (options.keepWindow && scale > 0 && (this.from > 0 || (before && this.to < before.layout.width)) && !this.isAt(this.zoomedNode, before)) {
      this.from *= scale;
      this.to *= scale;
      this.zoomedNode = options.zoom;
    } else {
      this.zoomedNode = options.zoom;
      [this.from, this.to] = this.windowOf(options.zoom);
    }
    this.animation = null;
    this.spacer.style.height = `${this.contentHeight()}px`;
    if (turned || !before) this.wasAtBottom = true;
    if (this.width > 0) {
      if (this.bottomUp && this.wasAtBottom) this.element.scrollTop = this.contentHeight();
      else if (turned) this.element.scrollTop = 0;
      this.draw();
      this.itemsLater();
    } else {
      this.resize();
    }
  }

  /** Search, selection or colours changed; the tree has not. */
  update(change: Partial<ChartModel>, selected?: number): void {
    if (!this.model) return;
    this.model = { ...this.model, ...change };
    if (selected !== undefined) this.selected = selected;
    this.redraw();
    this.itemsLater();
  }

  get zoomed(): number {
    return this.zoomedNode;
  }

  get rows(): number {
    return this.model ? this.model.layout.tree.maxDepth + 1 : 0;
  }

  focus(): void {
    this.items.focus({ preventScroll: true });
  }

  zoomTo(node: number, animate = true): void {
    if (!this.model) return;
    this.zoomedNode = node;
    const [from, to] = this.windowOf(node);
    this.moveTo(from, to, animate);
    this.reveal(node);
    this.events.zoom(node);
  }

  /** Zooms by a factor around a share of the width. */
  zoomBy(factor: number, at = 0.5): void {
    if (!this.model) return;
    const whole = this.model.layout.width;
    const { from, to } = this.target();
    const span = clamp((to - from) * factor, Math.min(whole, whole * 1e-7 + 1), whole);
    const left = clamp(from + (to - from - span) * at, 0, whole - span);
    this.moveTo(left, left + span, false);
  }

  panBy(share: number): void {
    if (!this.model) return;
    const { from, to } = this.target();
    const span = to - from;
    const left = clamp(from + span * share, 0, this.model.layout.width - span);
    this.moveTo(left, left + span, false);
  }

  dispose(): void {
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.settle);
  }

  private target(): { from: number; to: number } {
    return this.animation ? { from: this.animation.targetFrom, to: this.animation.targetTo } : { from: this.from, to: this.to };
  }

  private windowOf(node: number, model = this.model): [number, number] {
    if (!model) return [0, 1];
    const { start, tree, width } = model.layout;
    const from = start[node];
    return tree.extent[node] > 0 ? [from, from + tree.extent[node]] : [0, Math.max(width, 1)];
  }

  private isAt(node: number, model: ChartModel | null): boolean {
    if (!model || node >= model.layout.tree.length) return false;
    const [from, to] = this.windowOf(node, model);
    const slack = (to - from) * 1e-6;
    return Math.abs(this.from - from) <= slack && Math.abs(this.to - to) <= slack;
  }

  private contentHeight(): number {
    return this.rows * ROW + 2;
  }

  private top(depth: number): number {
    return this.bottomUp ? Math.max(this.contentHeight(), this.height) - (depth + 1) * ROW - 1 : depth * ROW + 1;
  }

  private depthAt(y: number): number {
    const content = Math.max(this.contentHeight(), this.height);
    return this.bottomUp ? Math.floor((content - 1 - y) / ROW) : Math.floor((y - 1) / ROW);
  }

  private resize(): void {
    const width = this.element.clientWidth;
    const height = this.element.clientHeight;
    if (width === 0 || height === 0) return;
    const ratio = window.devicePixelRatio || 1;
    const first = this.width === 0;
    this.width = width;
    this.height = height;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    this.spacer.style.marginTop = `${-height}px`;
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.meters = null;
    this.hatch = null;
    if (this.bottomUp && (first || this.wasAtBottom)) this.element.scrollTop = this.contentHeight();
    this.draw();
    this.itemsLater();
  }

  private moveTo(from: number, to: number, animate: boolean): void {
    if (animate && !reducedMotion()) {
      this.animation = { from: this.from, to: this.to, targetFrom: from, targetTo: to, start: performance.now() };
    } else {
      this.animation = null;
      this.from = from;
      this.to = to;
    }
    this.redraw();
    this.itemsLater();
  }

  private reveal(node: number): void {
    if (!this.model) return;
    const y = this.top(this.model.layout.tree.depth[node]);
    const { scrollTop } = this.element;
    if (y < scrollTop) this.element.scrollTop = y - ROW;
    else if (y + ROW > scrollTop + this.height) this.element.scrollTop = y + 2 * ROW - this.height;
  }

  private redraw(): void {
    if (this.frame) return;
    this.frame = requestAnimationFrame((now) => {
      this.frame = 0;
      const { animation } = this;
      if (animation) {
        const t = clamp((now - animation.start) / ANIMATION_MS, 0, 1);
        const eased = 1 - (1 - t) ** 3;
        this.from = animation.from + (animation.targetFrom - animation.from) * eased;
        this.to = animation.to + (animation.targetTo - animation.to) * eased;
        if (t >= 1) this.animation = null;
        else this.redraw();
      }
      this.draw();
    });
  }

  private pattern(dark: boolean): CanvasPattern | null {
    if (this.hatch && this.hatchDark === dark) return this.hatch;
    const tile = document.createElement('canvas');
    tile.width = tile.height = 6;
    const pen = tile.getContext('2d');
    if (!pen) return null;
    pen.strokeStyle = dark ? 'rgb(255 255 255 / 0.13)' : 'rgb(0 0 0 / 0.11)';
    pen.lineWidth = 1.2;
    pen.beginPath();
    for (const shift of [-6, 0, 6]) {
      pen.moveTo(shift - 1, 7);
      pen.lineTo(shift + 7, -1);
    }
    pen.stroke();
    this.hatchDark = dark;
    return (this.hatch = this.context.createPattern(tile, 'repeat'));
  }

  private draw(): void {
    const { model, context: pen, width, height } = this;
    if (!model || width === 0) return;
    pen.clearRect(0, 0, width, height);
    const { layout, painter, matches } = model;
    const { tree, start } = layout;
    const scheme = SCHEMES[model.dark ? 'dark' : 'light'];
    const scale = width / (this.to - this.from || 1);
    const scroll = this.element.scrollTop;
    const depths = [this.depthAt(scroll), this.depthAt(scroll + height)].sort((a, b) => a - b);
    const palette = painter.palette;
    const colors: string[] = [];
    const labelled: number[] = [];
    const hatched: number[] = [];
    const rest = css(scheme.rest);
    const unmatched = css(model.dark ? [48, 50, 56] : [236, 237, 240]);
    let current = '';
    const fill = (color: string): void => {
      if (color !== current) pen.fillStyle = current = color;
    };
    visit(
      layout,
      { from: this.from, to: this.to, minDepth: Math.max(0, depths[0]), maxDepth: depths[1], minWidth: MIN_PIXELS / scale },
      (node) => {
        const left = Math.max(-2, (start[node] - this.from) * scale);
        const right = Math.min(width + 2, (start[node] + tree.extent[node] - this.from) * scale);
        const y = this.top(tree.depth[node]) - scroll;
        const key = tree.key[node];
        if (matches && !(key >= 0 && matches[key])) {
          fill(unmatched);
        } else {
          const row = painter.row(node);
          fill((colors[row] ??= css(palette[row])));
        }
        const wide = right - left;
        pen.fillRect(left, y, wide > 2 ? wide - 1 : wide, ROW - 1);
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
    const hatch = hatched.length > 0 ? this.pattern(model.dark) : null;
    if (hatch) {
      pen.fillStyle = hatch;
      for (const node of hatched) {
        const left = Math.max(-2, (start[node] - this.from) * scale);
        const right = Math.min(width + 2, (start[node] + tree.extent[node] - this.from) * scale);
        pen.fillRect(left, this.top(tree.depth[node]) - scroll, right - left - 1, ROW - 1);
      }
    }
    this.drawLabels(labelled, scale, scroll, scheme);
    this.drawMarks(scale, scroll);
  }

  private drawLabels(nodes: number[], scale: number, scroll: number, scheme: { text: readonly number[]; dimText: readonly number[] }): void {
    const { model, context: pen, width } = this;
    if (!model) return;
    this.meters ??= { normal: new TextMeter(pen, FONT), italic: new TextMeter(pen, `italic ${FONT}`) };
    const { tree, start } = model.layout;
    const text = css(scheme.text as [number, number, number]);
    const dim = css(scheme.dimText as [number, number, number]);
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

  private drawMarks(scale: number, scroll: number): void {
    const { model, context: pen, width } = this;
    if (!model) return;
    const { tree, start } = model.layout;
    const style = getComputedStyle(this.element);
    const accent = style.getPropertyValue('--sp-accent').trim() || 'currentColor';
    const outline = (node: number, line: number, color: string): void => {
      const left = Math.max(-3, (start[node] - this.from) * scale);
      const right = Math.min(width + 3, (start[node] + tree.extent[node] - this.from) * scale);
      if (right < 0 || left > width) return;
      pen.strokeStyle = color;
      pen.lineWidth = line;
      pen.strokeRect(left + line / 2, this.top(tree.depth[node]) - scroll + line / 2 - 0.5, Math.max(1, right - left - line - 0.5), ROW - line);
    };
    if (this.hovered >= 0) outline(this.hovered, 1, style.getPropertyValue('--sp-fg').trim() || '#888');
    if (this.selected >= 0) outline(this.selected, 2, accent);
  }

  private nodeUnder(event: { clientX: number; clientY: number }): number {
    if (!this.model || this.width === 0) return -1;
    const box = this.element.getBoundingClientRect();
    // The host may scale the page (presentation modes do); offsets are in scaled pixels then.
    const zoom = box.width / this.element.offsetWidth || 1;
    const x = (event.clientX - box.left) / zoom - this.element.clientLeft;
    const y = (event.clientY - box.top) / zoom - this.element.clientTop + this.element.scrollTop;
    if (x < 0 || x > this.width) return -1;
    return nodeAtPoint(this.model.layout, this.from + (x / this.width) * (this.to - this.from), this.depthAt(y));
  }

  private bindPointer(): void {
    let press: { x: number; y: number; from: number; to: number; scroll: number; moved: boolean } | null = null;
    let dragged = false;
    const { element } = this;
    element.addEventListener('pointerdown', (event) => {
      if (event.button !== 0 || event.pointerType === 'touch') return;
      if (event.offsetX > this.element.clientWidth && event.target === element) return;
      press = { x: event.clientX, y: event.clientY, ...this.target(), scroll: element.scrollTop, moved: false };
    });
    element.addEventListener('pointermove', (event) => {
      if (press) {
        const dx = event.clientX - press.x;
        const dy = event.clientY - press.y;
        if (!press.moved && Math.hypot(dx, dy) < 4) return;
        if (!press.moved) {
          press.moved = true;
          element.setPointerCapture(event.pointerId);
          element.classList.add('sp-dragging');
          this.setHover(-1, null);
        }
        const whole = this.model?.layout.width ?? 0;
        const span = press.to - press.from;
        const from = clamp(press.from - (dx / this.width) * span, 0, Math.max(0, whole - span));
        element.scrollTop = press.scroll - dy;
        this.moveTo(from, from + span, false);
        return;
      }
      this.setHover(this.nodeUnder(event), event);
    });
    const release = (event: PointerEvent): void => {
      element.classList.remove('sp-dragging');
      if (press?.moved) {
        // The click that ends a drag is not meant.
        dragged = true;
        setTimeout(() => (dragged = false), 0);
        if (element.hasPointerCapture(event.pointerId)) element.releasePointerCapture(event.pointerId);
      }
      press = null;
    };
    element.addEventListener('pointerup', release);
    element.addEventListener('pointercancel', release);
    element.addEventListener('pointerleave', () => {
      if (!press) this.setHover(-1, null);
    });
    element.addEventListener('click', (event) => {
      if (dragged) return;
      const node = this.nodeUnder(event);
      this.focus();
      if (node < 0) return;
      this.select(node, true);
      this.zoomTo(node);
    });
    element.addEventListener('contextmenu', (event) => {
      const node = this.nodeUnder(event);
      if (node <= 0) return;
      event.preventDefault();
      this.select(node, true);
      this.events.actions(node);
    });
    element.addEventListener(
      'wheel',
      (event) => {
        if (!this.model) return;
        const box = element.getBoundingClientRect();
        if (event.ctrlKey || event.metaKey || event.altKey) {
          event.preventDefault();
          const pixels = event.deltaMode === 1 ? event.deltaY * 20 : event.deltaY;
          this.zoomBy(1.0025 ** clamp(pixels, -400, 400), clamp((event.clientX - box.left) / box.width, 0, 1));
          return;
        }
        const sideways = event.shiftKey && event.deltaX === 0 ? event.deltaY : event.deltaX;
        const { from, to } = this.target();
        if (Math.abs(sideways) > Math.abs(event.shiftKey ? 0 : event.deltaY) && to - from < this.model.layout.width * (1 - 1e-9)) {
          event.preventDefault();
          this.panBy(sideways / this.width);
        }
        // A plain wheel scrolls the frames, and the page beyond their end, as anywhere else.
      },
      { passive: false },
    );
  }

  private setHover(node: number, event: PointerEvent | null): void {
    if (node !== this.hovered) {
      this.hovered = node;
      this.redraw();
    }
    this.events.hover(node, event);
  }

  private select(node: number, tell: boolean): void {
    this.selected = node;
    this.redraw();
    this.itemsLater();
    if (tell) this.events.select(node);
  }

  private onKey(event: KeyboardEvent): void {
    const { model } = this;
    if (!model || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.selected >= 0 ? this.selected : this.zoomedNode;
    const deeper = this.bottomUp ? 'ArrowUp' : 'ArrowDown';
    const steps: Record<string, Parameters<typeof neighbour>[2]> = {
      [deeper]: 'callee',
      [this.bottomUp ? 'ArrowDown' : 'ArrowUp']: 'caller',
      ArrowLeft: 'previous',
      ArrowRight: 'next',
    };
    const step = event.shiftKey ? undefined : steps[event.key];
    if (step) {
      const next = neighbour(model.layout, at, step);
      this.select(next, true);
      this.bringIntoWindow(next);
    } else if (event.key === 'Enter' || event.key === ' ') {
      this.zoomTo(at);
    } else if (event.key === 'Home' || event.key === '0') {
      this.select(0, true);
      this.zoomTo(0);
    } else if (event.key === '+' || event.key === '=') {
      this.zoomBy(0.7);
    } else if (event.key === '-') {
      this.zoomBy(1 / 0.7);
    } else if (event.shiftKey && (event.key === 'ArrowLeft' || event.key === 'ArrowRight')) {
      this.panBy(event.key === 'ArrowLeft' ? -0.15 : 0.15);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    this.itemsNow();
  }

  private bringIntoWindow(node: number): void {
    if (!this.model) return;
    const { from, to } = this.target();
    const [left, right] = this.windowOf(node);
    if (right <= from || left >= to) {
      const span = to - from;
      const shifted = clamp((left + right - span) / 2, 0, this.model.layout.width - span);
      this.moveTo(shifted, shifted + span, true);
    }
    this.reveal(node);
  }

  private itemsLater(): void {
    clearTimeout(this.settle);
    this.settle = window.setTimeout(() => {
      if (this.animation) this.itemsLater();
      else this.itemsNow();
    }, SETTLE_MS);
  }

  /** The frames in sight, as elements that assistive technology and tests can name. */
  private itemsNow(): void {
    const { model, width } = this;
    if (!model || width === 0) return;
    const { layout } = model;
    const { tree, start } = layout;
    const { from, to } = this.target();
    const scale = width / (to - from || 1);
    const nodes: number[] = [];
    visit(
      layout,
      { from, to, minDepth: 0, maxDepth: tree.maxDepth, minWidth: MIN_ITEM_PIXELS / scale },
      (node) => nodes.push(node),
      () => undefined,
    );
    if (this.selected >= 0 && !nodes.includes(this.selected)) nodes.push(this.selected);
    if (nodes.length > MAX_ITEMS) {
      // The widest frames stay, in reading order.
      const kept = new Set(nodes.slice().sort((a, b) => tree.extent[b] - tree.extent[a]).slice(0, MAX_ITEMS - 1));
      if (this.selected >= 0) kept.add(this.selected);
      nodes.splice(0, nodes.length, ...nodes.filter((node) => kept.has(node)));
    }
    const elements = nodes.map((node) => {
      const left = clamp((start[node] - from) * scale, 0, width);
      const right = clamp((start[node] + tree.extent[node] - from) * scale, 0, width);
      const item = h('div', {
        role: 'treeitem',
        id: `${this.id}-${node}`,
        'aria-level': tree.depth[node] + 1,
        'aria-selected': String(node === this.selected),
        'aria-expanded': tree.childStart[node] < tree.childStart[node + 1] ? 'true' : null,
        'aria-label': model.spoken(node),
      });
      item.style.cssText = `left:${left.toFixed(1)}px;top:${this.top(tree.depth[node])}px;width:${Math.max(1, right - left).toFixed(1)}px;height:${ROW}px`;
      return item;
    });
    this.items.replaceChildren(...elements);
    this.items.style.height = `${this.contentHeight()}px`;
    if (this.selected >= 0) this.items.setAttribute('aria-activedescendant', `${this.id}-${this.selected}`);
    else this.items.removeAttribute('aria-activedescendant');
  }

  /** What is on screen, for a picture file. */
  picture(): HTMLCanvasElement {
    return this.canvas;
  }

  get windowShown(): { from: number; to: number } {
    return { from: this.from, to: this.to };
  }
}
