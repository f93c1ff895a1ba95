// Owns the box beside the pointer that says what a frame is.

import { h } from '../dom/elements';
import type { Described } from '../state/describe';

export class Tooltip {
  readonly element = h('div', { class: 'sp-tooltip', 'aria-hidden': 'true' });

  show(described: Described, event: PointerEvent, within: HTMLElement): void {
    const row = (name: string, value: string): HTMLElement =>
      h('div', { class: 'sp-tip-row' }, h('span', {}, name), h('span', {}, value));
    this.element.replaceChildren(
      h('div', { class: 'sp-tip-title' }, described.title, described.native ? h('em', {}, ' native') : null),
      ...(described.whole ? [h('div', { class: 'sp-tip-whole' }, described.whole)] : []),
      h('div', { class: 'sp-tip-place' }, described.location),
      ...described.figures.map(([name, value]) => row(name, value)),
      ...described.lines.map(({ text, share }) => row(text, share)),
    );
    this.element.classList.add('sp-visible');
    const frame = within.getBoundingClientRect();
    const x = event.clientX - frame.left;
    const y = event.clientY - frame.top;
    const { offsetWidth: width, offsetHeight: height } = this.element;
    const left = x + 16 + width > frame.width ? Math.max(4, x - width - 12) : x + 16;
    const below = y + 18;
    // Over the lower edge of an output a tooltip would be cut off.
    const top =
      frame.top + below + height > window.innerHeight || below + height > frame.height + 40
        ? Math.max(4, y - height - 10)
        : below;
    this.element.style.transform = `translate(${left}px, ${top}px)`;
  }

  hide(): void {
    this.element.classList.remove('sp-visible');
  }
}
