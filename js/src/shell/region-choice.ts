// Owns the choice of a region of the program, where the profile has some. Holds no choice itself.
import { h } from '../dom/elements';
import * as format from '../profile/format';
import { keep, type State } from '../state/state';

const ALL = 'all';

export class RegionChoice {
  readonly element = h('select', { class: 'sp-select', 'aria-label': 'Region', hidden: true });
  private readonly stop: () => void;

  constructor(private readonly state: State) {
    this.element.addEventListener('change', () => {
      const at = this.element.value;
      state.updateTree({ region: at === ALL ? null : (state.regions[Number(at)]?.region ?? null) });
    });
    this.stop = keep(() => this.show());
  }

  dispose(): void {
    this.stop();
  }

  private show(): void {
    const { state } = this;
    const choices = state.profile ? state.regions : [];
    this.element.hidden = choices.length === 0;
    if (this.element.hidden) return;
    this.element.replaceChildren(
      h('option', { value: ALL }, 'All regions'),
      ...choices.map(({ region, depth, weight }, at) =>
        h('option', { value: at }, `${'\u2003'.repeat(depth)}${region} · ${format.duration(weight)}`),
      ),
    );
    const { region } = state.choices.tree;
    const chosen = choices.findIndex((choice) => choice.region === region);
    this.element.value = region === null ? ALL : String(chosen);
  }
}
