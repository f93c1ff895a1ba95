// Owns Speedscope as a view among the others: the bundled page in a frame.
import { h } from '../dom/elements';
import type { Profile } from '../profile/container';
import { speedscopeUrl } from './speedscope-page';
import type { Context, Crumb, View } from './view';

export class SpeedscopeView implements View {
  readonly element = h('div', { class: 'sp-speedscope' });
  readonly height = 560;
  private url = '';
  private shown: Profile | null = null;

  constructor(private readonly context: Context) {}

  show(): void {
    const { state } = this.context;
    if (this.shown === state.data) return;
    this.shown = state.data;
    this.element.replaceChildren(h('p', { class: 'sp-empty' }, 'Loading Speedscope…'));
    void this.context.speedscope().then((page) => {
      if (page === null) {
        this.element.replaceChildren(
          h(
            'p',
            { class: 'sp-empty' },
            'Speedscope is not part of this page. Export the profile as Speedscope JSON instead.',
          ),
        );
        return;
      }
      URL.revokeObjectURL(this.url.split('#')[0]);
      this.url = speedscopeUrl(page, state.data, 'profile');
      this.element.replaceChildren(h('iframe', { class: 'sp-frame', title: 'Speedscope', src: this.url }));
    });
  }

  focus(): void {
    this.element.querySelector('iframe')?.focus();
  }

  back(): boolean {
    return false;
  }

  reset(): void {}

  crumbs(): Crumb[] {
    return [];
  }

  dispose(): void {
    URL.revokeObjectURL(this.url.split('#')[0]);
  }
}
