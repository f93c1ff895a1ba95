// Owns how the regions of a thread are drawn above its calls, on whose canvas they are, and which of them a point is in.
import { css, oklch, SCHEMES } from '../profile/colors';
import type { RegionLane } from '../profile/region-lanes';
import { visitSpans } from '../profile/timeline';

export const REGION_ROW = 15;

export interface Sight {
  readonly from: number;
  readonly to: number;
  /** Pixels for a ns. */
  readonly scale: number;
  readonly width: number;
  readonly dark: boolean;
}

/** Regions of one name or text have a hue; golden angles keep those beside each other apart. */
function colorOf(region: number, dark: boolean): string {
  const hue = (300 + region * 137.5) % 360;
  return css(dark ? oklch(0.4, 0.07, hue) : oklch(0.87, 0.07, hue));
}

export function paintRegions(
  pen: CanvasRenderingContext2D,
  lane: RegionLane,
  top: number,
  sight: Sight,
  text: { of(region: number): string; fit(text: string, room: number): string; font: string },
): void {
  const { from, to, scale, width, dark } = sight;
  const scheme = SCHEMES[dark ? 'dark' : 'light'];
  pen.font = text.font;
  pen.textBaseline = 'middle';
  for (let row = 0; row < lane.rows; row++) {
    const y = top + row * REGION_ROW;
    visitSpans(
      lane,
      lane.rowStart[row],
      lane.rowStart[row + 1],
      { from, to, minWidth: 1 / scale },
      (span) => {
        const left = Math.max(-2, (lane.start[span] - from) * scale);
        const wide = Math.min(width + 2, (lane.end[span] - from) * scale) - left;
        pen.fillStyle = colorOf(lane.region[span], dark);
        pen.beginPath();
        pen.roundRect(left, y, Math.max(0.5, wide > 3 ? wide - 1 : wide), REGION_ROW - 2, wide > 8 ? 4 : 0);
        pen.fill();
        if (wide < 24) return;
        const begin = Math.max(0, left) + 6;
        pen.fillStyle = css(scheme.text);
        pen.fillText(text.fit(text.of(lane.region[span]), left + wide - begin - 6), begin, y + REGION_ROW / 2 - 0.5);
      },
      (began, ended) => {
        pen.fillStyle = css(scheme.rest);
        const left = Math.max(0, (began - from) * scale);
        pen.fillRect(left, y, Math.max(0.5, Math.min(width, (ended - from) * scale) - left), REGION_ROW - 2);
      },
    );
  }
}
