// Owns the whole span of time at a glance: how many threads ran and waited when, and how a window onto it is moved.
// Knows nothing of canvases.
import { isWaiting, type States } from './timeline';

export interface Activity {
  /** Threads that ran, on average, in each column. */
  readonly running: Float64Array;
  /** Threads that waited. */
  readonly waiting: Float64Array;
}

/** What all threads did, in `columns` equal stretches of the extent. */
export function activity(
  lanes: readonly { readonly states: States }[],
  [low, high]: readonly [number, number],
  columns: number,
): Activity {
  const running = new Float64Array(columns);
  const waiting = new Float64Array(columns);
  const column = (high - low) / columns;
  for (const { states } of lanes) {
    for (let run = 0; run < states.state.length; run++) {
      const into = isWaiting(states.state[run]) ? waiting : running;
      const start = Math.max(0, (states.start[run] - low) / column);
      const end = Math.min(columns, (states.end[run] - low) / column);
      for (let at = Math.floor(start); at < end; at++) into[at] += Math.min(end, at + 1) - Math.max(start, at);
    }
  }
  return { running, waiting };
}

export interface Window {
  readonly from: number;
  readonly to: number;
}

/** What of a window is moved: one of its ends, or all of it. */
export type Part = 'from' | 'to' | 'all';

/** The window with a part of it moved by so much, within the extent and never shorter than `least`. */
export function moved(
  window: Window,
  part: Part,
  by: number,
  [low, high]: readonly [number, number],
  least: number,
): Window {
  const { from, to } = window;
  const room = Math.min(least, high - low);
  if (part === 'from') return { from: Math.max(low, Math.min(from + by, to - room)), to };
  if (part === 'to') return { from, to: Math.min(high, Math.max(to + by, from + room)) };
  const shift = Math.max(low - from, Math.min(by, high - to));
  return { from: from + shift, to: to + shift };
}

/** How far a key moves a part of the window; null where it means nothing there. */
export function stepOf(key: string, [low, high]: readonly [number, number]): number | null {
  const whole = high - low;
  switch (key) {
    case 'ArrowLeft':
    case 'ArrowDown':
      return -whole / 100;
    case 'ArrowRight':
    case 'ArrowUp':
      return whole / 100;
    case 'PageDown':
      return -whole / 10;
    case 'PageUp':
      return whole / 10;
    case 'Home':
      return -whole;
    case 'End':
      return whole;
    default:
      return null;
  }
}
