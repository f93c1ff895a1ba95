// Owns what every canvas with a horizontal axis does: size, zoom, pan, wheel, drag, hover, and the elements
// that name what is on it. Knows nothing of what is drawn.
import { h } from '../dom/elements';
import { TextMeter } from './text';

export const ROW = 21;
export const PAD = 5;
export const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
/** What is narrower than this many pixels runs together. */
export const MIN_PIXELS = 0.5;
export const MIN_ITEM_PIXELS = 3;
export const MAX_ITEMS = 400;
const ANIMATION_MS = 160;
const SETTLE_MS = 90;
const CLICK_SLOP = 4;

export interface Meters {
  normal: TextMeter;
  italic: TextMeter;
}

/** What a screen reader, a keyboard or a test finds at a place of the canvas. */
export interface Item {
  id: number;
  left: number;
  width: number;
  top: number;
  level: number;
  label: string;
  selected: boolean;
  expanded: boolean;
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

const reducedMotion = (): boolean => matchMedia('(prefers-reduced-motion: reduce)').matches;

let plots = 0;

export abstract class Plot {
  readonly element: HTMLElement;
  protected readonly canvas = h('canvas', { class: 'sp-canvas', 'aria-hidden': 'true' });
  protected readonly items: HTMLElement;
  protected readonly pen: CanvasRenderingContext2D;
  protected width = 0;
  protected height = 0;
  protected from = 0;
  protected to = 1;
  protected hovered = -1;
  protected dark = false;
  /** Whether the view grows upwards, its beginning at the lower edge. */
  protected bottomUp = false;
  private readonly spacer = h('div', { class: 'sp-spacer' });
  private readonly id = `sp-plot-${++plots}`;
  private readonly observer: ResizeObserver;
  private atBottom = true;
  private frame = 0;
  private settle = 0;
  private animation: { from: number; to: number; targetFrom: number; targetTo: number; start: number } | null = null;
  private textMeters: Meters | null = null;
  private hatch: CanvasPattern | null = null;
  private hatchDark = false;

  constructor(label: string) {
    this.items = h('div', { class: 'sp-items', role: 'tree', tabindex: '0', 'aria-label': label });
    this.element = h('div', { class: 'sp-chart' }, this.canvas, this.spacer, this.items);
    const pen = this.canvas.getContext('2d');
    if (!pen) throw new Error('this browser has no 2D canvas');
    this.pen = pen;
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.element);
    this.element.addEventListener('scroll', () => {
      this.atBottom = this.element.scrollTop + this.height >= this.contentHeight() - 2;
      this.redraw();
    });
    this.bindPointer();
    this.items.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !this.onKey(event)) return;
      event.preventDefault();
      event.stopPropagation();
      this.itemsNow();
    });
    this.items.addEventListener('focus', () => {
      this.focused();
      this.itemsNow();
    });
  }

  /** Ends of the horizontal axis. */
  protected abstract extent(): [number, number];
  protected abstract contentHeight(): number;
  protected abstract paint(scale: number, scroll: number): void;
  /** What lies at a point: x on the axis, y in pixels of the content; -1 for nothing. */
  protected abstract hit(x: number, y: number): number;
  protected abstract clicked(id: number, x: number, y: number): void;
  protected abstract hover(id: number, event: PointerEvent | null): void;
  protected abstract menu(id: number): void;
  protected abstract onItemKey(event: KeyboardEvent): boolean;
  protected abstract itemsInSight(scale: number, from: number, to: number): Item[];
  protected focused(): void {
    this.redraw();
  }

  focus(): void {
    this.items.focus({ preventScroll: true });
  }

  dispose(): void {
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.settle);
  }

  /** Zooms by a factor around a share of the width. */
  zoomBy(factor: number, at = 0.5): void {
    const [low, high] = this.extent();
    const whole = high - low;
    const { from, to } = this.target();
    const span = clamp((to - from) * factor, Math.min(whole, whole * 1e-7 + 1), whole);
    const left = clamp(from + (to - from - span) * at, low, high - span);
    this.moveTo(left, left + span, false);
  }

  /** Moves by a share of the window. */
  panBy(share: number): void {
    const { from, to } = this.target();
    this.panTo(from + (to - from) * share, to - from, false);
  }

  get windowShown(): { from: number; to: number } {
    return this.target();
  }

  get picture(): HTMLCanvasElement {
    return this.canvas;
  }

  protected panTo(left: number, span: number, animate: boolean): void {
    const [low, high] = this.extent();
    const from = clamp(left, low, Math.max(low, high - span));
    this.moveTo(from, from + span, animate);
  }

  protected moveTo(from: number, to: number, animate: boolean): void {
    if (animate && !reducedMotion()) {
      this.animation = { from: this.from, to: this.to, targetFrom: from, targetTo: to, start: performance.now() };
    } else {
      this.animation = null;
      this.from = from;
      this.to = to;
    }
    this.redraw();
    this.itemsLater();
    this.moved();
  }

  /** The window changed, or is about to. */
  protected moved(): void {}

  /** Where the window is or is on its way to. */
  protected target(): { from: number; to: number } {
    return this.animation
      ? { from: this.animation.targetFrom, to: this.animation.targetTo }
      : { from: this.from, to: this.to };
  }

  /** Draws at once, after the content or the window was replaced. */
  protected replaced(options: { turned: boolean }): void {
    this.animation = null;
    this.hovered = -1;
    this.element.classList.toggle('sp-bottom-up', this.bottomUp);
    this.fitContent();
    if (options.turned) this.atBottom = true;
    if (this.width === 0) {
      this.resize();
      return;
    }
    if (this.bottomUp && this.atBottom) this.element.scrollTop = this.contentHeight();
    else if (options.turned) this.element.scrollTop = 0;
    this.draw();
    this.itemsLater();
  }

  /** The scroller is as high as what it shows. */
  protected fitContent(): void {
    this.spacer.style.height = `${this.contentHeight()}px`;
    this.items.style.height = `${this.contentHeight()}px`;
  }

  /** Scrolls so that a row is in sight. */
  protected reveal(top: number): void {
    const { scrollTop } = this.element;
    if (top < scrollTop + this.headroom) this.element.scrollTop = top - this.headroom - ROW;
    else if (top + ROW > scrollTop + this.height) this.element.scrollTop = top + 2 * ROW - this.height;
  }

  /** Pixels at the upper edge that do not scroll. */
  protected get headroom(): number {
    return 0;
  }

  protected get meters(): Meters {
    return (this.textMeters ??= {
      normal: new TextMeter(this.pen, FONT),
      italic: new TextMeter(this.pen, `italic ${FONT}`),
    });
  }

  /** Diagonal lines that tell apart without colour: native frames, waiting. */
  protected hatching(): CanvasPattern | null {
    if (this.hatch && this.hatchDark === this.dark) return this.hatch;
    const tile = document.createElement('canvas');
    tile.width = tile.height = 6;
    const pen = tile.getContext('2d');
    if (!pen) return null;
    pen.strokeStyle = this.dark ? 'rgb(255 255 255 / 0.13)' : 'rgb(0 0 0 / 0.11)';
    pen.lineWidth = 1.2;
    pen.beginPath();
    for (const shift of [-6, 0, 6]) {
      pen.moveTo(shift - 1, 7);
      pen.lineTo(shift + 7, -1);
    }
    pen.stroke();
    this.hatchDark = this.dark;
    return (this.hatch = this.pen.createPattern(tile, 'repeat'));
  }

  protected color(property: string): string {
    return getComputedStyle(this.element).getPropertyValue(property).trim() || '#888';
  }

  protected redraw(): void {
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

  private draw(): void {
    if (this.width === 0) return;
    this.pen.clearRect(0, 0, this.width, this.height);
    this.paint(this.width / (this.to - this.from || 1), this.element.scrollTop);
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
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.textMeters = null;
    this.hatch = null;
    if (this.bottomUp && (first || this.atBottom)) this.element.scrollTop = this.contentHeight();
    this.draw();
    this.itemsLater();
  }

  private locate(event: { clientX: number; clientY: number }): { x: number; y: number } | null {
    const box = this.element.getBoundingClientRect();
    // A host may scale the page, as presentation modes do; positions are in scaled pixels then.
    const zoom = box.width / this.element.offsetWidth || 1;
    const across = (event.clientX - box.left) / zoom;
    if (this.width === 0 || across < 0 || across > this.width) return null;
    return {
      x: this.from + (across / this.width) * (this.to - this.from),
      y: (event.clientY - box.top) / zoom + this.element.scrollTop,
    };
  }

  private under(event: { clientX: number; clientY: number }): number {
    const at = this.locate(event);
    return at ? this.hit(at.x, at.y) : -1;
  }

  private setHover(id: number, event: PointerEvent | null): void {
    if (id !== this.hovered) {
      this.hovered = id;
      this.redraw();
    }
    this.hover(id, event);
  }

  private bindPointer(): void {
    let press: { x: number; y: number; from: number; to: number; scroll: number; moved: boolean } | null = null;
    let dragged = false;
    const { element } = this;
    element.addEventListener('pointerdown', (event) => {
      // Touch scrolls natively; a press on the scroll bar is the scroll bar's.
      if (event.button !== 0 || event.pointerType === 'touch' || !this.locate(event)) return;
      press = { x: event.clientX, y: event.clientY, ...this.target(), scroll: element.scrollTop, moved: false };
    });
    element.addEventListener('pointermove', (event) => {
      if (!press) {
        this.setHover(this.under(event), event);
        return;
      }
      const dx = event.clientX - press.x;
      const dy = event.clientY - press.y;
      if (!press.moved) {
        if (Math.hypot(dx, dy) < CLICK_SLOP) return;
        press.moved = true;
        element.setPointerCapture(event.pointerId);
        element.classList.add('sp-dragging');
        this.setHover(-1, null);
      }
      const span = press.to - press.from;
      element.scrollTop = press.scroll - dy;
      this.panTo(press.from - (dx / this.width) * span, span, false);
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
      const at = this.locate(event);
      if (dragged || !at) return;
      this.focus();
      this.clicked(this.hit(at.x, at.y), at.x, at.y);
    });
    element.addEventListener('contextmenu', (event) => {
      const id = this.under(event);
      if (id < 0) return;
      event.preventDefault();
      this.menu(id);
    });
    element.addEventListener('wheel', (event) => this.onWheel(event), { passive: false });
  }

  private onWheel(event: WheelEvent): void {
    const box = this.element.getBoundingClientRect();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1;
    if (event.ctrlKey || event.metaKey || event.altKey) {
      event.preventDefault();
      this.zoomBy(1.0025 ** clamp(event.deltaY * unit, -400, 400), clamp((event.clientX - box.left) / box.width, 0, 1));
      return;
    }
    const sideways = event.shiftKey && event.deltaX === 0 ? event.deltaY : event.deltaX;
    const down = event.shiftKey ? 0 : event.deltaY;
    const { from, to } = this.target();
    const [low, high] = this.extent();
    if (Math.abs(sideways) > Math.abs(down) && to - from < (high - low) * (1 - 1e-9)) {
      event.preventDefault();
      this.panBy((sideways * unit) / this.width);
    }
    // A plain wheel scrolls the frames, and the page beyond their end, as anywhere else.
  }

  private onKey(event: KeyboardEvent): boolean {
    if (event.key === '+' || event.key === '=') this.zoomBy(0.7);
    else if (event.key === '-') this.zoomBy(1 / 0.7);
    else if (event.shiftKey && event.key === 'ArrowLeft') this.panBy(-0.15);
    else if (event.shiftKey && event.key === 'ArrowRight') this.panBy(0.15);
    else return this.onItemKey(event);
    return true;
  }

  protected itemsLater(): void {
    clearTimeout(this.settle);
    this.settle = window.setTimeout(() => {
      if (this.animation) this.itemsLater();
      else this.itemsNow();
    }, SETTLE_MS);
  }

  /** What is in sight, as elements that assistive technology and tests can name. */
  protected itemsNow(): void {
    if (this.width === 0) return;
    const { from, to } = this.target();
    let items = this.itemsInSight(this.width / (to - from || 1), from, to);
    if (items.length > MAX_ITEMS) {
      // The widest stay, in reading order.
      const widths = items.map(({ width }) => width).sort((a, b) => b - a);
      const least = widths[MAX_ITEMS - 1];
      items = items
        .filter(({ width, selected }) => selected || width > least || (width === least && width > MIN_ITEM_PIXELS))
        .slice(0, MAX_ITEMS);
    }
    // Elements stay those they are while what they name stays in sight: who reads or tests them keeps hold.
    let active = '';
    const before = new Map(Array.from(this.items.children, (element) => [element.id, element as HTMLElement]));
    let next = this.items.firstElementChild;
    for (const item of items) {
      const id = `${this.id}-${item.id}`;
      if (item.selected) active = id;
      const element = before.get(id) ?? h('div', { role: 'treeitem', id });
      before.delete(id);
      if (element === next) next = next.nextElementSibling;
      else this.items.insertBefore(element, next);
      this.fillItem(element, item);
    }
    for (const element of before.values()) element.remove();
    this.items.style.height = `${this.contentHeight()}px`;
    if (active) this.items.setAttribute('aria-activedescendant', active);
    else this.items.removeAttribute('aria-activedescendant');
  }

  private fillItem(element: HTMLElement, item: Item): void {
    const left = clamp(item.left, 0, this.width);
    const right = clamp(item.left + item.width, 0, this.width);
    const attributes = {
      'aria-level': String(item.level),
      'aria-selected': String(item.selected),
      'aria-label': item.label,
      style: `left:${left.toFixed(1)}px;top:${item.top}px;width:${Math.max(1, right - left).toFixed(1)}px;height:${ROW}px`,
    };
    for (const [name, value] of Object.entries(attributes)) {
      if (element.getAttribute(name) !== value) element.setAttribute(name, value);
    }
    if (item.expanded) element.setAttribute('aria-expanded', 'true');
    else element.removeAttribute('aria-expanded');
  }
}
