// Owns the strip above the timeline: the whole span of time on a canvas, and the window onto it with its handles.
// Knows nothing of what the window is for.
import { h } from '../dom/elements';
import { duration } from '../profile/format';
import { type Activity, activity, moved, type Part, stepOf, type Window } from '../profile/overview';
import type { Lane } from '../profile/timeline';

/** Pixels, with the line below. */
export const OVERVIEW_HEIGHT = 38;
/** Below the hills: where a thread waited and none ran. */
const BASE = 3;
/** A press that moves less than this many pixels is a click. */
const CLICK_SLOP = 4;
/** Of the whole span; ends that came closer could not be taken hold of again. */
const LEAST_SHARE = 1 / 2000;

export interface OverviewEvents {
  /** Wherever the reader put the window. */
  moved(window: Window): void;
}

export class Overview {
  readonly element: HTMLElement;
  private readonly canvas = h('canvas', { class: 'sp-overview-canvas', 'aria-hidden': 'true' });
  private readonly shades = [h('div', { class: 'sp-shade' }), h('div', { class: 'sp-shade' })] as const;
  private readonly handles: Readonly<Record<Part, HTMLElement>>;
  private readonly observer: ResizeObserver;
  private lanes: readonly Lane[] = [];
  private extent: readonly [number, number] = [0, 1];
  private window: Window = { from: 0, to: 1 };
  private made: Activity | null = null;

  constructor(private readonly events: OverviewEvents) {
    this.handles = {
      from: this.handle('from', 'Start of the time shown'),
      all: this.handle('all', 'Time shown'),
      to: this.handle('to', 'End of the time shown'),
    };
    const { from, all, to } = this.handles;
    this.element = h(
      'div',
      { class: 'sp-overview', role: 'group', 'aria-label': 'Overview' },
      this.canvas,
      ...this.shades,
      all,
      from,
      to,
    );
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.element);
    this.bindPointer();
  }

  show(lanes: readonly Lane[], extent: readonly [number, number]): void {
    if (lanes !== this.lanes || extent[0] !== this.extent[0] || extent[1] !== this.extent[1]) this.made = null;
    this.lanes = lanes;
    this.extent = extent;
    this.draw();
  }

  /** Where the window is, by whoever moved it. */
  setWindow(window: Window): void {
    this.window = window;
    const [low, high] = this.extent;
    const share = (time: number): string => `${(((time - low) / (high - low)) * 100).toFixed(4)}%`;
    const { from, all, to } = this.handles;
    const [before, after] = this.shades;
    before.style.width = all.style.left = from.style.left = share(window.from);
    after.style.left = to.style.left = share(window.to);
    all.style.right = `${100 - Number.parseFloat(share(window.to))}%`;
    this.element.classList.toggle('sp-whole', window.from <= low && window.to >= high);
    const says = (part: HTMLElement, now: number, text: string): void => {
      // Whole microseconds: what is read out need not be finer.
      for (const [name, time] of [
        ['min', low],
        ['max', high],
        ['now', now],
      ] as const)
        part.setAttribute(`aria-value${name}`, String(Math.round(time / 1000)));
      part.setAttribute('aria-valuetext', text);
    };
    const text = (time: number): string => duration(Math.round(time));
    says(from, window.from, text(window.from));
    says(to, window.to, text(window.to));
    says(all, window.from, `${text(window.from)} to ${text(window.to)}`);
  }

  dispose(): void {
    this.observer.disconnect();
  }

  private handle(part: Part, label: string): HTMLElement {
    const element = h('div', {
      class: `sp-window sp-window-${part}`,
      role: 'slider',
      tabindex: '0',
      'aria-label': label,
      'aria-orientation': 'horizontal',
    });
    element.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const step = stepOf(event.key, this.extent);
      if (step === null) return;
      event.preventDefault();
      event.stopPropagation();
      this.move(this.moved(this.window, part, step));
    });
    return element;
  }

  private move(window: Window): void {
    this.setWindow(window);
    this.events.moved(window);
  }

  private moved(window: Window, part: Part, by: number): Window {
    const [low, high] = this.extent;
    return moved(window, part, by, this.extent, Math.max(1, (high - low) * LEAST_SHARE));
  }

  private timeAt(event: PointerEvent): number {
    const [low, high] = this.extent;
    const box = this.element.getBoundingClientRect();
    const share = box.width > 0 ? (event.clientX - box.left) / box.width : 0;
    return low + Math.max(0, Math.min(1, share)) * (high - low);
  }

  /** A press on the window moves it, on an end that end; beside it, or on all of the time, it draws another. */
  private bindPointer(): void {
    let press: { part: Part | null; x: number; at: number; window: Window; dragged: boolean } | null = null;
    const { element } = this;
    element.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      const held = (Object.keys(this.handles) as Part[]).find((part) => this.handles[part] === event.target) ?? null;
      const part = held === 'all' && element.classList.contains('sp-whole') ? null : held;
      press = { part, x: event.clientX, at: this.timeAt(event), window: this.window, dragged: false };
      element.setPointerCapture(event.pointerId);
    });
    element.addEventListener('pointermove', (event) => {
      if (!press) return;
      if (Math.abs(event.clientX - press.x) >= CLICK_SLOP) press.dragged = true;
      if (!press.dragged) return;
      const by = this.timeAt(event) - press.at;
      const { part, at, window } = press;
      this.move(
        part
          ? this.moved(window, part, by)
          : this.moved({ from: Math.min(at, at + by), to: Math.max(at, at + by) }, by < 0 ? 'from' : 'to', 0),
      );
    });
    const release = (event: PointerEvent): void => {
      if (press && !press.dragged && press.part === null && event.type === 'pointerup') {
        // The window as long as it is, around what was pressed.
        const { from, to } = this.window;
        this.move(this.moved(this.window, 'all', press.at - (from + to) / 2));
      }
      press = null;
    };
    element.addEventListener('pointerup', release);
    element.addEventListener('pointercancel', release);
    element.addEventListener('dblclick', () => this.move({ from: this.extent[0], to: this.extent[1] }));
  }

  private draw(): void {
    const width = this.element.clientWidth;
    const height = this.element.clientHeight;
    if (width === 0 || height === 0) return;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const pen = this.canvas.getContext('2d');
    if (!pen) return;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (this.made?.running.length !== width) this.made = activity(this.lanes, this.extent, width);
    const { running, waiting } = this.made;
    const style = getComputedStyle(this.element);
    const color = (property: string): string => style.getPropertyValue(property).trim() || '#888';
    const floor = height - BASE;
    const most = running.reduce((a, b) => Math.max(a, b), 1);
    pen.fillStyle = color('--sp-hill');
    for (let x = 0; x < width; x++) {
      const hill = (running[x] / most) * (floor - 3);
      if (hill > 0) pen.fillRect(x, floor - Math.max(1, hill), 1, Math.max(1, hill));
    }
    pen.fillStyle = color('--sp-line');
    for (let x = 0; x < width; x++) if (waiting[x] > 0) pen.fillRect(x, floor, 1, BASE);
    pen.fillStyle = color('--sp-dim');
    for (let x = 0; x < width; x++) if (running[x] > 0) pen.fillRect(x, floor, 1, BASE);
  }
}
