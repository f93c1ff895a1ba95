// Owns the line below a graph that says what its colours mean.
import { h } from '../dom/elements';
import { type ColorMode, css, keyOf } from '../profile/colors';
import type { ViewName } from '../state/choices';
import { keep, type State } from '../state/state';

/** Modules that are named; a reader finds the others in the options. */
const NAMED = 6;
const COLOURED: readonly ViewName[] = ['icicle', 'flame', 'timeline', 'sandwich'];

export class Legend {
  readonly element = h('div', { class: 'sp-key', role: 'group', 'aria-label': 'What colours mean' });
  private readonly stop: () => void;

  constructor(private readonly state: State) {
    this.stop = keep(() => this.show());
  }

  dispose(): void {
    this.stop();
  }

  private show(): void {
    const { state } = this;
    if (!state.profile) return;
    const { view, colors } = state.choices;
    // What is waited for has a row of its own.
    this.element.hidden = !COLOURED.includes(view) || colors === 'waits';
    if (colors === 'waits') return;
    // Time has no self time and no change: calls in it have colours by what they are.
    const mode = view === 'timeline' && colors !== 'kind' ? 'module' : colors;
    const entries = mode === 'module' ? this.modules() : keyOf(mode, state.dark);
    this.element.replaceChildren(
      ...entries.map(({ text, color }) => {
        const swatch = h('i', { class: 'sp-swatch', 'aria-hidden': 'true' });
        swatch.style.background = css(color);
        return h('span', {}, swatch, text);
      }),
      ...(this.hasNative(mode)
        ? [h('span', {}, h('i', { class: 'sp-swatch sp-hatched', 'aria-hidden': 'true' }), 'native')]
        : []),
    );
  }

  private modules(): { text: string; color: readonly [number, number, number] }[] {
    const { functionPainter, groups } = this.state;
    const named = groups.slice(0, NAMED).map(({ group, func }) => ({
      text: group || '(unknown)',
      color: functionPainter.palette[functionPainter.row(func)],
    }));
    return named;
  }

  private hasNative(mode: Exclude<ColorMode, 'waits'>): boolean {
    const { state } = this;
    return mode !== 'kind' && state.table.some(({ func }) => state.names.native(func));
  }
}
