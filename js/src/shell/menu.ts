// Owns a button that opens a small panel of choices, and closes it again.
import { button, h } from '../dom/elements';

export class Menu {
  readonly element: HTMLElement;
  private readonly trigger: HTMLButtonElement;
  readonly panel: HTMLElement;

  constructor(
    text: string,
    label: string,
    hint: string,
    children: HTMLElement[],
    /** Called before the panel opens. */
    private readonly fill: () => void = () => undefined,
  ) {
    this.panel = h('div', { class: 'sp-panel', role: 'group', 'aria-label': label, hidden: true }, ...children);
    this.trigger = button(
      text,
      { class: 'sp-action', 'aria-expanded': 'false', 'aria-label': label, title: hint },
      () => this.toggle(!this.open),
    );
    this.element = h('div', { class: 'sp-menu' }, this.trigger, this.panel);
    // What is done once closes the panel; what is switched on and off stays in sight.
    this.panel.addEventListener('click', (event) => {
      if ((event.target as Element).closest('button:not([aria-pressed])')) this.close();
    });
    // Leaving by Tab or by a click elsewhere closes it.
    this.element.addEventListener('focusout', (event) => {
      if (!this.element.contains(event.relatedTarget as Node | null)) this.toggle(false);
    });
  }

  get open(): boolean {
    return !this.panel.hidden;
  }

  show(): void {
    this.toggle(true);
  }

  close(): void {
    if (!this.open) return;
    this.toggle(false);
    this.trigger.focus();
  }

  private toggle(open: boolean): void {
    if (open) this.fill();
    this.panel.hidden = !open;
    this.trigger.setAttribute('aria-expanded', String(open));
    if (open) this.keepInside();
    // Safari does not focus a clicked button, and then no focusout would ever come.
    if (open) this.trigger.focus();
  }

  /** The panel hangs from its button's right end; near the left edge it moves in. */
  private keepInside(): void {
    this.panel.style.right = '';
    const edge = this.element.closest('.spprof')?.getBoundingClientRect().left ?? 0;
    const missing = edge + 4 - this.panel.getBoundingClientRect().left;
    if (missing > 0) this.panel.style.right = `${-missing}px`;
  }
}
