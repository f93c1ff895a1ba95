// Owns the timeline on a canvas: an axis of time, a lane a thread, its state and its calls.

import { button, h } from '../dom/elements';
import { doingColor } from '../profile/cause-colors';
import { css, type Painter, SCHEMES } from '../profile/colors';
import { duration, tickStep } from '../profile/format';
import type { RegionLane } from '../profile/region-lanes';
import type { FuncRow, StackRow, ThreadRow } from '../profile/rows';
import type { Marks } from '../profile/search';
import { doingOf } from '../profile/sums';
import { coarsen, gilOf, isWaiting, type Lane, rowOf, spanAt, visitSpans } from '../profile/timeline';
import { type Item, MIN_ITEM_PIXELS, MIN_PIXELS, PAD, Plot, ROW } from './plot';
import { paintRegions, REGION_ROW } from './region-rows';

const AXIS = 20;
const HEAD = 20;
const STRIP = 7;
const GAP = 12;
/** Below a folded lane. */
const FOLDED_GAP = 4;
const TICK_PIXELS = 110;

export interface LanesModel {
  lanes: readonly Lane[];
  /** Of those threads that have some; drawn above their calls. */
  regions: ReadonlyMap<ThreadRow, RegionLane>;
  regionText(region: number): string;
  extent: [number, number];
  painter: Painter<FuncRow>;
  dark: boolean;
  matches: Marks | null;
  selectedFunc: FuncRow | null;
  /** Lanes of which no more than the head is shown. */
  folded: ReadonlySet<ThreadRow>;
  laneTitle(lane: Lane): string;
  title(func: FuncRow): string;
  module(func: FuncRow): string;
  native(func: FuncRow): boolean;
  spoken(lane: Lane, span: number): string;
}

/** A call by where it lies: what is drawn for it differs from level to level. */
export interface LaneCall {
  lane: Lane;
  start: number;
  end: number;
  func: FuncRow;
  stack: StackRow;
}

export interface LanesEvents {
  select(call: LaneCall): void;
  hover(call: LaneCall | null, event: PointerEvent | null): void;
  /** A region was pressed. */
  region(text: string): void;
  fold(thread: ThreadRow, folded: boolean): void;
  actions(): void;
  moved(): void;
}

interface Placed {
  lane: Lane;
  regions: RegionLane | null;
  top: number;
  /** The lane as it looks from where it was last seen. */
  seen: { gap: number; from: number; to: number; lane: Lane } | null;
}

interface Call extends LaneCall {
  placed: Placed;
  row: number;
}

/** Ids of spans count on from lane to lane; no lane has more than this many. */
const LANE_IDS = 2 ** 26;
/** From here on they are regions'. */
const REGION_IDS = LANE_IDS / 2;

export class Lanes extends Plot {
  private model: LanesModel | null = null;
  private placed: Placed[] = [];
  private selected: Call | null = null;
  private readonly heads = h('div', { class: 'sp-heads', role: 'group', 'aria-label': 'Lanes' });

  constructor(private readonly events: LanesEvents) {
    super('Timeline');
    this.element.append(this.heads);
    // A press on a lane's head is no press on what lies below it.
    for (const kind of ['click', 'pointerdown']) this.heads.addEventListener(kind, (event) => event.stopPropagation());
  }

  show(model: LanesModel, options: { keepWindow: boolean }): void {
    this.model = model;
    this.dark = model.dark;
    this.place(model);
    const [low, high] = model.extent;
    this.selected = null;
    if (options.keepWindow) {
      const { from, to } = this.target();
      this.from = Math.max(low, Math.min(from, high - 1));
      this.to = Math.min(high, Math.max(to, this.from + 1));
    } else {
      [this.from, this.to] = [low, high];
    }
    this.replaced({ turned: false });
  }

  update(model: LanesModel): void {
    const refolded = this.model?.folded !== model.folded;
    this.model = model;
    this.dark = model.dark;
    if (refolded) {
      const { selected } = this;
      this.place(model);
      const placed = this.placed.find(({ lane }) => lane.thread === selected?.lane.thread);
      this.selected = selected && placed && placed.lane.rows > 0 ? { ...selected, placed } : null;
      this.hovered = -1;
      this.fitContent();
    } else {
      this.fillHeads(model);
    }
    this.redraw();
    this.itemsLater();
  }

  /** Says where each lane stands. One that is folded has no calls to show, and no regions. */
  private place(model: LanesModel): void {
    this.placed = [];
    let top = AXIS;
    for (const whole of model.lanes) {
      const folded = model.folded.has(whole.thread);
      const lane = folded ? { ...whole, rows: 0 } : whole;
      const regions = folded ? null : (model.regions.get(lane.thread) ?? null);
      this.placed.push({ lane, regions, top, seen: null });
      top += HEAD + STRIP + (regions?.rows ?? 0) * REGION_ROW + lane.rows * ROW + (folded ? FOLDED_GAP : GAP);
    }
    this.fillHeads(model);
  }

  /** A button a lane; those that stay are kept, and the keyboard's focus with them. */
  private fillHeads(model: LanesModel): void {
    while (this.heads.children.length > this.placed.length) this.heads.lastElementChild?.remove();
    this.placed.forEach(({ lane, top }, at) => {
      const folded = model.folded.has(lane.thread);
      const title = model.laneTitle(lane);
      let head = this.heads.children[at] as HTMLElement | undefined;
      if (!head) {
        const made = button('', { class: 'sp-head' }, () => {
          const { thread } = this.placed[at].lane;
          this.events.fold(thread, made.getAttribute('aria-expanded') === 'true');
        });
        made.append(h('i', { class: 'sp-twisty', 'aria-hidden': 'true' }), h('span'));
        this.heads.append(made);
        head = made;
      }
      const [twisty, text] = head.children;
      if (text.textContent !== title) text.textContent = title;
      twisty.textContent = folded ? '▸' : '▾';
      head.setAttribute('aria-expanded', String(!folded));
      head.title = folded ? 'Show the calls of this lane' : 'Fold this lane';
      head.style.top = `${top}px`;
    });
  }

  get isZoomed(): boolean {
    const [low, high] = this.extent();
    const { from, to } = this.target();
    return to - from < (high - low) * (1 - 1e-6);
  }

  zoomToTime(from: number, to: number): void {
    this.moveTo(from, to, true);
  }

  /** At once, as whoever moves the window by hand expects. */
  showTime(from: number, to: number): void {
    this.moveTo(from, to, false);
  }

  zoomOut(): void {
    const [low, high] = this.extent();
    this.moveTo(low, high, true);
  }

  protected override moved(): void {
    // From elsewhere the same id may be another call.
    this.hovered = -1;
    this.events.moved();
  }

  protected extent(): [number, number] {
    return this.model?.extent ?? [0, 1];
  }

  contentHeight(): number {
    const last = this.placed[this.placed.length - 1];
    return last ? this.top(last, last.lane.rows) + GAP : AXIS + ROW;
  }

  protected override get headroom(): number {
    return AXIS;
  }

  /** The lane as coarse as one to two pixels are, around the window; made anew where the window leaves it. */
  private level(placed: Placed): Lane {
    const { from, to } = this;
    const gap = 2 ** Math.ceil(Math.log2(Math.max(1, (to - from) / Math.max(1, this.width))));
    const { seen } = placed;
    if (seen && seen.gap === gap && seen.from <= from && seen.to >= to) return seen.lane;
    // Room to pan on both sides.
    const around = { from: from - (to - from), to: to + (to - from) };
    placed.seen = { gap, ...around, lane: coarsen(placed.lane, gap, around.from, around.to) };
    return placed.seen.lane;
  }

  private idOf(placed: Placed, span: number): number {
    return this.placed.indexOf(placed) * LANE_IDS + span;
  }

  private call(id: number): Call | null {
    if (id < 0) return null;
    const placed = this.placed[Math.floor(id / LANE_IDS)];
    const lane = placed ? this.level(placed) : null;
    const span = id % LANE_IDS;
    if (!lane || span >= lane.func.length) return null;
    return {
      placed,
      row: rowOf(lane, span),
      start: lane.start[span],
      end: lane.end[span],
      func: lane.func[span],
      stack: lane.stack[span],
      lane: placed.lane,
    };
  }

  private isSelected(lane: Lane, placed: Placed, row: number, span: number): boolean {
    const { selected } = this;
    if (selected?.placed !== placed || selected.row !== row) return false;
    const middle = (selected.start + selected.end) / 2;
    return lane.start[span] <= middle && middle < lane.end[span];
  }

  private top(placed: Placed, row: number): number {
    return placed.top + HEAD + STRIP + (placed.regions?.rows ?? 0) * REGION_ROW + row * ROW;
  }

  /** The region that an id stands for, by its text. */
  private regionOf(id: number): string | null {
    const regions = id < 0 ? null : this.placed[Math.floor(id / LANE_IDS)]?.regions;
    const span = (id % LANE_IDS) - REGION_IDS;
    return this.model && regions && span >= 0 ? this.model.regionText(regions.region[span]) : null;
  }

  private hitRegion({ regions, top }: Placed, x: number, y: number): number {
    const row = regions ? Math.floor((y - top - HEAD - STRIP) / REGION_ROW) : -1;
    return regions && row >= 0 && row < regions.rows ? spanAt(regions, row, x) : -1;
  }

  protected hit(x: number, y: number): number {
    if (y - this.element.scrollTop < AXIS) return -1;
    for (const placed of this.placed) {
      const region = this.hitRegion(placed, x, y);
      if (region >= 0) return this.idOf(placed, REGION_IDS + region);
      const row = Math.floor((y - this.top(placed, 0)) / ROW);
      if (row < 0 || row >= placed.lane.rows) continue;
      const span = spanAt(this.level(placed), row, x);
      return span < 0 ? -1 : this.idOf(placed, span);
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
    // The axis stays where it is; heads of lanes go out of sight below it.
    this.heads.style.clipPath = `inset(${scroll + AXIS}px 0 0 0)`;
    for (const [call, line, color] of [
      [this.call(this.hovered), 1, '--sp-fg'],
      [this.selected, 2, '--sp-accent'],
    ] as const) {
      if (!call) continue;
      const left = Math.max(-3, (call.start - this.from) * scale);
      const right = Math.min(this.width + 3, (call.end - this.from) * scale);
      const y = this.top(call.placed, call.row) - scroll;
      if (right < 0 || left > this.width || y < AXIS) continue;
      pen.strokeStyle = this.color(color);
      pen.lineWidth = line;
      pen.strokeRect(left + line / 2, y + line / 2 - 0.5, Math.max(1, right - left - line - 0.5), ROW - line);
    }
  }

  private paintLane(model: LanesModel, placed: Placed, scale: number, scroll: number): void {
    const { pen, width, height } = this;
    const lane = this.level(placed);
    const accent = this.color('--sp-accent');
    const colors = model.painter.palette.map(css);
    const scheme = SCHEMES[model.dark ? 'dark' : 'light'];
    pen.textBaseline = 'middle';
    this.paintStates(lane, placed.top - scroll + HEAD, scale, model.dark);
    if (placed.regions) {
      paintRegions(
        pen,
        placed.regions,
        placed.top - scroll + HEAD + STRIP,
        { from: this.from, to: this.to, scale, width, dark: model.dark },
        {
          of: model.regionText,
          fit: (text, room) => this.meters.normal.fit(text, room),
          font: this.meters.normal.font,
        },
      );
    }

    const window = { from: this.from, to: this.to, minWidth: MIN_PIXELS / scale };
    const rest = css(scheme.rest);
    const unmatched = css(scheme.unmatched);
    const labels: { title: string; func: FuncRow; left: number; room: number; y: number }[] = [];
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
          pen.fillStyle = model.matches && !model.matches[func] ? unmatched : colors[model.painter.row(func)];
          pen.fillRect(left, y, wide > 2 ? wide - 1 : wide, ROW - 1);
          if (func === model.selectedFunc && wide > 2) {
            pen.fillStyle = accent;
            pen.fillRect(left, y + ROW - 4, wide - 1, 3);
          }
          if (wide > 6 && model.native(func)) hatched.push([left, y, wide]);
          if (wide > 22)
            labels.push({
              title: model.title(func),
              func,
              left: Math.max(0, left),
              room: Math.min(width, left + wide) - Math.max(0, left) - 2 * PAD,
              y,
            });
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

  /** Full where the thread ran, where it waited in the cause's colour and an outline, a line below while it held the GIL. */
  private paintStates(lane: Lane, y: number, scale: number, dark: boolean): void {
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
          pen.fillStyle = css(doingColor(doingOf(states.state[i]), dark));
          pen.fillRect(left, y, Math.max(0.5, wide), 4);
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
    const region = this.regionOf(id);
    if (region !== null) {
      this.events.region(region);
      return;
    }
    this.choose(this.call(id));
    if (this.selected) this.zoomToTime(this.selected.start, this.selected.end);
  }

  private choose(call: Call | null): void {
    this.selected = call;
    if (call) this.events.select(call);
    this.redraw();
  }

  protected hover(id: number, event: PointerEvent | null): void {
    this.events.hover(this.call(id), event);
  }

  protected menu(id: number): void {
    this.choose(this.call(id));
    this.events.actions();
  }

  protected onItemKey(event: KeyboardEvent): boolean {
    if (event.shiftKey) return false;
    if (event.key === 'Home' || event.key === '0') {
      this.zoomOut();
      return true;
    }
    if (event.key === 'Enter' || event.key === ' ') {
      if (this.selected) this.zoomToTime(this.selected.start, this.selected.end);
      return this.selected !== null;
    }
    if (!event.key.startsWith('Arrow')) return false;
    const next = this.selected ? this.step(this.selected, event.key) : this.firstInSight();
    if (next) this.go(next);
    return true;
  }

  private firstInSight(): Call | null {
    for (const placed of this.placed) {
      const lane = this.level(placed);
      for (let span = 0; lane.rows > 0 && span < lane.rowStart[1]; span++) {
        if (lane.end[span] > this.from) return this.call(this.idOf(placed, span));
      }
    }
    return null;
  }

  /** The call beside: earlier and later on the row, caller and callee in the lane, the next lane at its ends. */
  private step({ placed, row, start, end }: Call, key: string): Call | null {
    const lane = this.level(placed);
    const middle = (Math.max(start, this.from) + Math.min(end, this.to)) / 2;
    const here = (span: number): Call | null => (span < 0 ? null : this.call(this.idOf(placed, span)));
    if (key === 'ArrowLeft' || key === 'ArrowRight') {
      const at = spanAt(lane, row, (start + end) / 2);
      const next = at + (key === 'ArrowLeft' ? -1 : 1);
      return at < 0 || next < lane.rowStart[row] || next >= lane.rowStart[row + 1] ? null : here(next);
    }
    if (key === 'ArrowUp' && row > 0) return here(spanAt(lane, row - 1, middle));
    if (key === 'ArrowDown' && row + 1 < lane.rows) {
      const inner = spanAt(lane, row + 1, middle);
      if (inner >= 0) return here(inner);
      // What it called before or after that still counts as below it.
      for (let at = lane.rowStart[row + 1]; at < lane.rowStart[row + 2] && lane.start[at] < end; at++) {
        if (lane.end[at] > start) return here(at);
      }
    }
    const by = key === 'ArrowDown' ? 1 : -1;
    let next = this.placed.indexOf(placed) + by;
    while (this.placed[next]?.lane.rows === 0) next += by;
    const other = this.placed[next];
    if (!other) return null;
    const beside = this.level(other);
    for (let at = 0; at < beside.rowStart[1]; at++) if (beside.end[at] > middle) return this.call(this.idOf(other, at));
    return null;
  }

  private go(call: Call): void {
    this.choose(call);
    const { from, to } = this.target();
    if (call.end <= from || call.start >= to) this.panTo((call.start + call.end - (to - from)) / 2, to - from, true);
    this.reveal(this.top(call.placed, call.row));
  }

  protected itemsInSight(scale: number, from: number, to: number): Item[] {
    const { model } = this;
    if (!model) return [];
    const items: Item[] = [];
    for (const placed of this.placed) {
      const lane = this.level(placed);
      for (let row = 0; row < lane.rows; row++) {
        visitSpans(
          lane,
          lane.rowStart[row],
          lane.rowStart[row + 1],
          { from, to, minWidth: MIN_ITEM_PIXELS / scale },
          (span) =>
            items.push({
              id: this.idOf(placed, span),
              left: (lane.start[span] - from) * scale,
              width: (lane.end[span] - lane.start[span]) * scale,
              top: this.top(placed, row),
              level: row + 1,
              get label() {
                return model.spoken(lane, span);
              },
              selected: this.isSelected(lane, placed, row, span),
              expanded: false,
            }),
          () => undefined,
        );
      }
    }
    return items;
  }
}
