// Owns what the app and its views expect of one another.

import type { Selection } from '../state/choices';
import type { Described } from '../state/describe';
import type { State } from '../state/state';

export interface View {
  readonly element: HTMLElement;
  /** How high its content is, in pixels; the stage is as high if there is room. */
  readonly height: number;
  /**
   * Brings the view up to date. Called again whenever something that it read from the state has changed while the
   * view is on screen.
   */
  show(): void;
  focus(): void;
  /** One step back out; false where there is none. */
  back(): boolean;
  reset(): void;
  /** Brings a node of the shown tree to where it can be read. */
  reveal?(node: number): void;
  /** Where the view is zoomed to, for the line above it. */
  crumbs(): Crumb[];
  dispose(): void;
}

export interface Crumb {
  text: string;
  go(): void;
  /** Not a place but something to do about it. */
  action?: boolean;
}

export interface Context {
  readonly state: State;
  select(selection: Selection | null): void;
  tip(described: Described | null, event: PointerEvent | null): void;
  /** Puts the keyboard on what can be done with the selection. */
  actions(): void;
  /** The view's own window moved: its crumbs are stale. */
  moved(): void;
  /** The view's height is another one than when it was shown. */
  resized(): void;
  /** Text of a source file, null where the host has none. */
  source(path: string): Promise<string | null>;
  /** Speedscope's page, null where the host has none; rejects with the reason where it cannot be had now. */
  speedscope(): Promise<string | null>;
  /** Saves the profile as a file that Speedscope opens. */
  saveSpeedscope(): void;
  say(text: string): void;
}
