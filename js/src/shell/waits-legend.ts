// Owns the row that says what the threads did, run or wait for what: a legend, and a filter by pressing. Shown where
// somebody waits. Holds no choice itself.
import { button, h } from '../dom/elements';
import { doingColor } from '../profile/cause-colors';
import { DOINGS, SHORT } from '../profile/causes';
import { css } from '../profile/colors';
import * as format from '../profile/format';
import { keep, type State } from '../state/state';

export class WaitsLegend {
  readonly element = h('div', { class: 'sp-waits', role: 'group', 'aria-label': 'What threads did', hidden: true });
  private readonly stop: () => void;

  constructor(private readonly state: State) {
    this.stop = keep(() => this.show());
  }

  dispose(): void {
    this.stop();
  }

  private show(): void {
    const { state } = this;
    this.element.hidden = !state.profile || !state.waits;
    if (this.element.hidden) return;
    const { colors, tree } = state.choices;
    const times = state.timeByDoing;
    const whole = times.reduce((sum, time) => sum + time, 0);
    const focused = Array.from(this.element.children).indexOf(document.activeElement as Element);
    const shown = times
      .map((time, doing) => ({ time, doing }))
      .filter(({ time, doing }) => time > 0 || doing === tree.doing);
    const chips = shown
      .sort((a, b) => Number(a.doing !== 0) - Number(b.doing !== 0) || b.time - a.time)
      .map(({ time, doing }) => {
        const chosen = tree.doing === doing;
        const chip = button(
          '',
          {
            class: 'sp-waits-for',
            'aria-pressed': String(chosen),
            title: chosen ? 'Everything again' : `Only ${DOINGS[doing]}`,
          },
          () => state.update({ tree: { ...tree, doing: chosen ? null : doing }, zoom: [] }),
        );
        const swatch = h('i', { class: 'sp-swatch', 'aria-hidden': 'true' });
        // Only in the colours of the graph: else it would say what is not so.
        swatch.style.background = css(doingColor(doing, state.dark));
        swatch.hidden = colors !== 'waits' && state.choices.view !== 'timeline';
        chip.append(swatch, `${SHORT[doing]} `, h('span', { class: 'sp-share' }, format.share(time, whole)));
        return chip;
      });
    this.element.replaceChildren(...chips);
    // What had the keyboard was made anew.
    if (focused >= 0) chips[Math.min(focused, chips.length - 1)]?.focus();
  }
}
