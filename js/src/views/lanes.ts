// Owns the timeline on a canvas: an axis of time, a lane a thread, its state and its calls.
import { css, SCHEMES, type Painter } from '../profile/colors';
import { duration, tickStep } from '../profile/format';
import { gilOf, isWaiting, rowOf, spanAt, visitSpans, type Lane } from '../profile/timeline';
import { MIN_ITEM_PIXELS, MIN_PIXELS, PAD, Plot, ROW, type Item } from './plot';

const AXIS = 20;
const HEAD = 20;
const STRIP = 7;
const GAP = 12;
const TICK_PIXELS = 110;

export interface LanesModel {
  lanes: readonly Lane[];
  extent: [number, number];
  painter: Painter;
  dark: boolean;
  matches: Uint8Array | null;
  selectedFunc: number;
  laneTitle(lane: Lane): string;
  title(func: number): string;
  module(func: number): string;
  native(func: number): boolean;
  spoken(lane: Lane, span: number): string;
}

export interface LanesEvents {
  select(lane: Lane, span: number): void;
  hover(lane: Lane | null, span: number, event: PointerEvent | null): void;
  actions(): void;
  moved(): void;
}

interface Placed {
  lane: Lane;
  top: number;
  /** What its spans' ids count from: ids are unique over all lanes. */
  base: number;
}

export class Lanes extends Plot {
  private model: LanesModel | null = null;
  private placed: Placed[] = [];
  private selectedId = -1;

  constructor(private readonly events: LanesEvents) {
    super('Timeline');
  }

  show(model: LanesModel, options: { keepWindow: boolean }): void {
    this.model = model;
    this.dark = model.dark;
    this.placed = [];
    let top = AXIS;
    let base = 0;
    for (const lane of model.lanes) {
      this.placed.push({ lane, top, base });
      top += HEAD + STRIP + lane.rows * ROW + GAP;
      base += lane.func.length;
    }
    const [low, high] = model.extent;
    if (options.keepWindow) {
      const { from, to } = this.target();
      this.from = Math.max(low, Math.min(from, high - 1));
      this.to = Math.min(high, Math.max(to, this.from + 1));
    } else {
      this.selectedId = -1;
      [this.from, this.to] = [low, high];
    }
    this.replaced({ turned: false });
  }

  update(model: LanesModel): void {
    this.model = model;
    this.dark = model.dark;
    this.redraw();
    this.itemsLater();
  }

  get isZoomed(): boolean {
    const [low, high] = this.extent();
    const { from, to } = this.target();
    return to - from < (high - low) * (1 - 1e-6);
  }

  zoomToTime(from: number, to: number): void {
    this.moveTo(from, to, true);
  }

  zoomOut(): void {
    const [low, high] = this.extent();
    this.moveTo(low, high, true);
  }

  protected override moved(): void {
    this.events.moved();
  }

  protected extent(): [number, number] {
    return this.model?.extent ?? [0, 1];
  }

  contentHeight(): number {
    const last = this.placed[this.placed.length - 1];
    return last ? last.top + HEAD + STRIP + last.lane.rows * ROW + GAP : AXIS + ROW;
  }

  protected override get headroom(): number {
    return AXIS;
  }

  private locateId(id: number): { placed: Placed; span: number } | null {
    for (const placed of this.placed) {
      const span = id - placed.base;
      if (span >= 0 && span < placed.lane.func.length) return { placed, span };
    }
    return null;
  }

  private top(placed: Placed, row: number): number {
    return placed.top + HEAD + STRIP + row * ROW;
  }

  protected hit(x: number, y: number): number {
    if (y - this.element.scrollTop < AXIS) return -1;
    for (const placed of this.placed) {
      const row = Math.floor((y - this.top(placed, 0)) / ROW);
      if (row < 0 || row >= placed.lane.rows) continue;
      const span = spanAt(placed.lane, row, x);
      return span < 0 ? -1 : placed.base + span;
    }
    return -1;
  }

  protected paint(scale: number, scroll: number): void {
    const { model, pen, height } = this;
    if (!model) return;
    for (const placed of this.placed) {
      const y = placed.top - scroll;
      if (y > height || this.top(placed, placed.lane.rows) - scroll < 0) continue;
      this.paintLane(model, placed, scale, scroll);
    }
    this.paintAxis(scale);
    for (const [id, line, color] of [
      [this.hovered, 1, '--sp-fg'],
      [this.selectedId, 2, '--sp-accent'],
    ] as const) {
      const found = id >= 0 ? this.locateId(id) : null;
      if (!found) continue;
      const { lane } = found.placed;
      const left = Math.max(-3, (lane.start[found.span] - this.from) * scale);
      const right = Math.min(this.width + 3, (lane.end[found.span] - this.from) * scale);
      const y = this.top(found.placed, rowOf(lane, found.span)) - scroll;
      if (right < 0 || left > this.width || y < AXIS) continue;
      pen.strokeStyle = this.color(color);
      pen.lineWidth = line;
      pen.strokeRect(left + line / 2, y + line / 2 - 0.5, Math.max(1, right - left - line - 0.5), ROW - line);
    }
  }

  private paintLane(model: LanesModel, placed: Placed, scale: number, scroll: number): void {
    const { pen, width, height } = this;
    const { lane } = placed;
    const scheme = SCHEMES[model.dark ? 'dark' : 'light'];
    pen.textBaseline = 'middle';
    pen.font = `600 ${this.meters.normal.font}`;
    pen.fillStyle = this.color('--sp-fg');
    pen.fillText(model.laneTitle(lane), PAD, placed.top - scroll + HEAD / 2 + 1);
    this.paintStates(lane, placed.top - scroll + HEAD, scale);

    const window = { from: this.from, to: this.to, minWidth: MIN_PIXELS / scale };
    const rest = css(scheme.rest);
    const unmatched = css(scheme.unmatched);
    const labels: { title: string; func: number; left: number; room: number; y: number }[] = [];
    const hatched: [number, number, number][] = [];
    for (let row = 0; row < lane.rows; row++) {
      const y = this.top(placed, row) - scroll;
      if (y + ROW < AXIS || y > height) continue;
      visitSpans(
        lane,
        lane.rowStart[row],
        lane.rowStart[row + 1],
        window,
        (span) => {
          const func = lane.func[span];
          const left = Math.max(-2, (lane.start[span] - this.from) * scale);
          const wide = Math.min(width + 2, (lane.end[span] - this.from) * scale) - left;
          pen.fillStyle = model.matches && !model.matches[func] ? unmatched : css(model.painter.palette[model.painter.row(func)]);
          pen.fillRect(left, y, wide > 2 ? wide - 1 : wide, ROW - 1);
          if (func === model.selectedFunc && wide > 2) {
            pen.fillStyle = this.color('--sp-accent');
            pen.fillRect(left, y + ROW - 4, wide - 1, 3);
          }
          if (wide > 6 && model.native(func)) hatched.push([left, y, wide]);
          if (wide > 22) labels.push({ title: model.title(func), func, left: Math.max(0, left), room: Math.min(width, left + wide) - Math.max(0, left) - 2 * PAD, y });
        },
        (from, to) => {
          pen.fillStyle = rest;
          const left = Math.max(0, (from - this.from) * scale);
          pen.fillRect(left, y, Math.max(0.5, Math.min(width, (to - this.from) * scale) - left), ROW - 1);
        },
      );
    }
    const hatch = hatched.length > 0 ? this.hatching() : null;
    if (hatch) {
      pen.fillStyle = hatch;
      for (const [left, y, wide] of hatched) pen.fillRect(left, y, wide - 1, ROW - 1);
    }
    const text = css(scheme.text);
    const dim = css(scheme.dimText);
    for (const { title, func, left, room, y } of labels) {
      const meter = model.native(func) ? this.meters.italic : this.meters.normal;
      const shown = meter.fit(title, room);
      if (shown === '') continue;
      pen.font = meter.font;
      pen.fillStyle = text;
      pen.fillText(shown, left + PAD, y + ROW / 2);
      const after = meter.width(shown) + 7;
      if (shown !== title || room - after < 30) continue;
      pen.fillStyle = dim;
      pen.fillText(meter.fit(model.module(func), room - after), left + PAD + after, y + ROW / 2);
    }
  }

  /** Full where the thread ran, an outline where it waited, a line below while it held the GIL. */
  private paintStates(lane: Lane, y: number, scale: number): void {
    const { pen, width } = this;
    const fg = this.color('--sp-dim');
    const accent = this.color('--sp-accent');
    const { states } = lane;
    visitSpans(
      states,
      0,
      states.state.length,
      { from: this.from, to: this.to, minWidth: MIN_PIXELS / scale },
      (i) => {
        const left = Math.max(-2, (states.start[i] - this.from) * scale);
        const wide = Math.min(width + 2, (states.end[i] - this.from) * scale) - left;
        pen.fillStyle = pen.strokeStyle = fg;
        if (isWaiting(states.state[i])) {
          pen.lineWidth = 1;
          pen.strokeRect(left + 0.5, y + 0.5, Math.max(0.5, wide - 1), 3);
        } else {
          pen.fillRect(left, y, Math.max(0.5, wide), 4);
        }
        if (gilOf(states.state[i]) === 2) {
          pen.fillStyle = accent;
          pen.fillRect(left, y + 4, Math.max(0.5, wide), 2);
        }
      },
      (from, to) => {
        pen.globalAlpha = 0.5;
        pen.fillStyle = fg;
        const left = (from - this.from) * scale;
        pen.fillRect(left, y, Math.max(0.5, (to - this.from) * scale - left), 4);
        pen.globalAlpha = 1;
      },
    );
  }

  private paintAxis(scale: number): void {
    const { pen, width } = this;
    const step = tickStep(this.to - this.from, width / TICK_PIXELS);
    pen.fillStyle = this.color('--sp-bg');
    pen.fillRect(0, 0, width, AXIS);
    pen.font = this.meters.normal.font;
    pen.textBaseline = 'middle';
    const line = this.color('--sp-line');
    const dim = this.color('--sp-dim');
    for (let at = Math.ceil(this.from / step) * step; at <= this.to; at += step) {
      const x = Math.round((at - this.from) * scale) + 0.5;
      pen.fillStyle = line;
      pen.fillRect(x, 0, 1, AXIS);
      pen.fillStyle = dim;
      pen.fillText(duration(Math.round(at)), x + 4, AXIS / 2);
    }
    pen.fillStyle = line;
    pen.fillRect(0, AXIS - 1, width, 1);
  }

  protected clicked(id: number): void {
    this.selectedId = id;
    const found = id >= 0 ? this.locateId(id) : null;
    if (found) {
      this.events.select(found.placed.lane, found.span);
      this.zoomToTime(found.placed.lane.start[found.span], found.placed.lane.end[found.span]);
    }
    this.redraw();
  }

  protected hover(id: number, event: PointerEvent | null): void {
    const found = id >= 0 ? this.locateId(id) : null;
    this.events.hover(found?.placed.lane ?? null, found?.span ?? -1, event);
  }

  protected menu(id: number): void {
    const found = this.locateId(id);
    if (!found) return;
    this.selectedId = id;
    this.events.select(found.placed.lane, found.span);
    this.events.actions();
  }

  protected onItemKey(event: KeyboardEvent): boolean {
    if (event.shiftKey) return false;
    if (event.key === 'Home' || event.key === '0') {
      this.zoomOut();
      return true;
    }
    const found = this.selectedId >= 0 ? this.locateId(this.selectedId) : null;
    if (event.key === 'Enter' || event.key === ' ') {
      if (found) this.zoomToTime(found.placed.lane.start[found.span], found.placed.lane.end[found.span]);
      return found !== null;
    }
    if (!event.key.startsWith('Arrow')) return false;
    const next = found ? this.step(found.placed, found.span, event.key) : this.firstInSight();
    if (next >= 0) this.go(next);
    return true;
  }

  private firstInSight(): number {
    for (const placed of this.placed) {
      const { lane } = placed;
      for (let span = 0; lane.rows > 0 && span < lane.rowStart[1]; span++) if (lane.end[span] > this.from) return placed.base + span;
    }
    return -1;
  }

  /** The span beside: earlier and later on the row, caller and callee in the lane, the next lane at its ends. */
  private step(placed: Placed, span: number, key: string): number {
    const { lane, base } = placed;
    const row = rowOf(lane, span);
    if (key === 'ArrowLeft') return span > lane.rowStart[row] ? base + span - 1 : -1;
    if (key === 'ArrowRight') return span + 1 < lane.rowStart[row + 1] ? base + span + 1 : -1;
    const middle = (Math.max(lane.start[span], this.from) + Math.min(lane.end[span], this.to)) / 2;
    const inner = spanAt(lane, row + (key === 'ArrowDown' ? 1 : -1), middle);
    if (inner >= 0) return base + inner;
    if (key === 'ArrowDown') {
      // What it called later still counts as below it.
      for (let at = row + 1 < lane.rows ? lane.rowStart[row + 1] : Infinity; at < lane.rowStart[row + 2]; at++) {
        if (lane.start[at] >= lane.start[span] && lane.end[at] <= lane.end[span]) return base + at;
      }
    }
    const other = this.placed[this.placed.indexOf(placed) + (key === 'ArrowDown' ? 1 : -1)];
    if (!other) return -1;
    for (let at = 0; at < (other.lane.rows > 0 ? other.lane.rowStart[1] : 0); at++) if (other.lane.end[at] > middle) return other.base + at;
    return -1;
  }

  private go(id: number): void {
    const found = this.locateId(id);
    if (!found) return;
    const { placed, span } = found;
    this.selectedId = id;
    this.events.select(placed.lane, span);
    const { from, to } = this.target();
    const { start, end } = placed.lane;
    if (end[span] <= from || start[span] >= to) this.panTo((start[span] + end[span] - (to - from)) / 2, to - from, true);
    this.reveal(this.top(placed, rowOf(placed.lane, span)));
    this.redraw();
  }

  protected itemsInSight(scale: number, from: number, to: number): Item[] {
    const { model } = this;
    if (!model) return [];
    const items: Item[] = [];
    for (const placed of this.placed) {
      const { lane, base } = placed;
      for (let row = 0; row < lane.rows; row++) {
        visitSpans(
          lane,
          lane.rowStart[row],
          lane.rowStart[row + 1],
          { from, to, minWidth: MIN_ITEM_PIXELS / scale },
          (span) =>
            items.push({
              id: base + span,
              left: (lane.start[span] - from) * scale,
              width: (lane.end[span] - lane.start[span]) * scale,
              top: this.top(placed, row),
              level: row + 1,
              get label() {
                return model.spoken(lane, span);
              },
              selected: base + span === this.selectedId,
              expanded: false,
            }),
          () => undefined,
        );
      }
    }
    return items;
  }
}
