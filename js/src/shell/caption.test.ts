// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';
import { Caption } from './caption';

const settled = async (): Promise<void> => {
  await new Promise((resolve) => setTimeout(resolve));
};

function made(fetch: () => Promise<unknown>): { caption: Caption; graph: HTMLElement; button: HTMLButtonElement } {
  const graph = document.createElement('section');
  const caption = new Caption(graph, fetch);
  return { caption, graph, button: caption.element.querySelector('button') as HTMLButtonElement };
}

describe('the line above a graph', () => {
  it('is not there where nothing is said, and the graph is', () => {
    const { caption, graph } = made(() => Promise.resolve());
    caption.set('', false, true);
    expect([caption.element.hidden, graph.hidden]).toEqual([true, false]);
  });

  it('says something above a graph without folding it', () => {
    const { caption, graph, button } = made(() => Promise.resolve());
    caption.set('running for 3 s', false, true);
    expect([caption.element.hidden, graph.hidden, button.hidden]).toEqual([false, false, true]);
    expect(caption.element.textContent).toContain('running for 3 s');
  });

  it('hides a graph until it is asked for, brings it, and hides it again', async () => {
    let asked = 0;
    const { caption, graph, button } = made(() => Promise.resolve(++asked));
    caption.set('3.1 s', true, false);
    expect([graph.hidden, button.hidden, asked]).toEqual([true, false, 0]);
    button.click();
    expect(button.disabled).toBe(true);
    await settled();
    expect([graph.hidden, asked, button.textContent]).toEqual([false, 1, 'Hide the graph']);
    caption.set('3.1 s', true, true);
    expect(graph.hidden).toBe(false);
    button.click();
    expect([graph.hidden, button.textContent, button.getAttribute('aria-expanded')]).toEqual([
      true,
      'Show the graph',
      'false',
    ]);
  });

  it('says why a graph cannot be had, and may be asked again', async () => {
    const { caption, graph, button } = made(() => Promise.reject(new Error('the kernel is gone')));
    caption.set('3.1 s', true, false);
    button.click();
    await settled();
    expect(graph.hidden).toBe(true);
    expect(caption.element.textContent).toContain('3.1 s · it cannot be shown: the kernel is gone');
    expect([button.disabled, button.textContent]).toEqual([false, 'Show the graph']);
  });
});
