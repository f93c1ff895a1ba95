// Owns Speedscope as a view among the others: the bundled page in a frame, or why there is none and what to do.
import { button, h } from '../dom/elements';
import type { Profile } from '../profile/container';
import { speedscopeUrl } from './speedscope-page';
import type { Context, Crumb, View } from './view';

export class SpeedscopeView implements View {
  readonly element = h('div', { class: 'sp-speedscope' });
  readonly height = 560;
  private url = '';
  private shown: { profile: Profile; dark: boolean } | null = null;

  constructor(private readonly context: Context) {}

  show(): void {
    const { data: profile, dark } = this.context.state;
    if (this.shown?.profile === profile && this.shown.dark === dark) return;
    const shown = { profile, dark };
    this.shown = shown;
    void this.load(shown);
  }

  private async load(shown: { profile: Profile; dark: boolean }): Promise<void> {
    this.element.replaceChildren(h('p', { class: 'sp-empty' }, 'Loading Speedscope…'));
    let content: HTMLElement[];
    let url = '';
    try {
      const page = await this.context.speedscope();
      url = page === null ? '' : speedscopeUrl(page, shown.profile, { name: 'profile', dark: shown.dark });
      content =
        page === null
          ? this.instead('Speedscope is not part of this page')
          : [h('iframe', { class: 'sp-frame', title: 'Speedscope', src: url })];
    } catch (error) {
      content = this.instead(`Speedscope cannot be shown: ${(error as Error).message}`, () => void this.load(shown));
    }
    // Another profile may have come meanwhile.
    if (this.shown !== shown) {
      URL.revokeObjectURL(url.split('#')[0]);
      return;
    }
    this.revoke();
    this.url = url;
    this.element.replaceChildren(...content);
  }

  private instead(why: string, again?: () => void): HTMLElement[] {
    const actions = [
      button('Save the Speedscope file', { class: 'sp-action' }, () => this.context.saveSpeedscope()),
      ...(again ? [button('Try again', { class: 'sp-action' }, again)] : []),
    ];
    return [h('p', { class: 'sp-empty', role: 'status' }, why), h('p', { class: 'sp-instead' }, ...actions)];
  }

  private revoke(): void {
    URL.revokeObjectURL(this.url.split('#')[0]);
    this.url = '';
  }

  focus(): void {
    this.element.querySelector<HTMLElement>('iframe, button')?.focus();
  }

  back(): boolean {
    return false;
  }

  reset(): void {}

  crumbs(): Crumb[] {
    return [];
  }

  dispose(): void {
    this.shown = null;
    this.revoke();
  }
}
