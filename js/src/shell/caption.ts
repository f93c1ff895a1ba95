// Owns the line above a graph: what is said of it, and a button that shows and hides it. Has the colours of the page
// around it. Knows nothing of profiles.
import { button, h } from '../dom/elements';
import { reason } from './messages';

export class Caption {
  readonly element = h('div', { class: 'spprof-caption', hidden: true });
  private readonly text = h('span', { role: 'status' });
  private readonly toggle: HTMLButtonElement;
  private shown = true;

  constructor(
    /** What is shown and hidden. */
    private readonly graph: HTMLElement,
    /** Brings the graph where there is none yet; rejects with the reason where it cannot be had. */
    private readonly fetch: () => Promise<unknown>,
  ) {
    this.toggle = button('Show the graph', { hidden: true, 'aria-expanded': 'false' }, () => void this.press());
    this.element.append(this.text, this.toggle);
  }

  /** `folds`: whether the graph is shown only to whoever asks for it; `present`: whether it is there. */
  set(text: string, folds: boolean, present: boolean): void {
    this.text.textContent = text;
    this.element.hidden = text === '';
    if (this.toggle.hidden === folds) this.shown = !folds;
    this.toggle.hidden = !folds;
    this.apply(present);
  }

  private apply(present: boolean): void {
    const visible = this.shown && present;
    this.graph.hidden = !visible;
    this.toggle.textContent = visible ? 'Hide the graph' : 'Show the graph';
    this.toggle.setAttribute('aria-expanded', String(visible));
  }

  private async press(): Promise<void> {
    const text = this.text.textContent ?? '';
    if (this.toggle.getAttribute('aria-expanded') === 'true') {
      this.shown = false;
      this.apply(true);
      return;
    }
    this.shown = true;
    this.toggle.disabled = true;
    this.toggle.textContent = 'Asking the kernel…';
    try {
      await this.fetch();
      this.apply(true);
    } catch (error) {
      this.shown = false;
      this.apply(false);
      this.text.textContent = `${text} · it cannot be shown: ${reason(error)}`;
    } finally {
      this.toggle.disabled = false;
    }
  }
}
