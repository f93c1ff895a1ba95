// Owns what is said to the reader at once: in passing to a screen reader, or in sight until it is dismissed, with
// what can be done instead.
import { button, h } from '../dom/elements';

export interface Remedy {
  text: string;
  run(): void;
}

export class Messages {
  /** What was done, for those who cannot see it. */
  readonly live = h('div', { class: 'sp-live', role: 'status', 'aria-live': 'polite' });
  /** What went wrong. */
  readonly element = h('div', { class: 'sp-messages' });

  say(text: string): void {
    this.live.textContent = text;
  }

  warn(text: string, remedies: Remedy[] = []): void {
    const message = h('div', { class: 'sp-message', role: 'alert' }, h('span', {}, text));
    for (const { text: label, run } of remedies) message.append(button(label, { class: 'sp-action' }, run));
    message.append(button('Dismiss', { class: 'sp-action' }, () => message.remove()));
    this.element.replaceChildren(message);
  }
}

/** What an error says, to be put behind a colon. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
