// Owns graphs in the HTML of saved outputs, with neither kernel nor widget: they take their pictures' place once
// they are seen. One output of a page brings the front end for all. Where anything fails the picture stays.

import { frontEnd, inflated, known, type Rendered } from './hosts/front-ends';

/** A widget that is on its way takes the place of the picture within this time. */
const PATIENCE_MS = 1500;

function bytes(packed = ''): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
}

/** What the front end takes for a widget's model; nobody answers its questions. */
function model(values: Record<string, unknown>): object {
  return {
    get: (name: string) => values[name],
    set: (name: string, value: unknown) => {
      values[name] = value;
    },
    save_changes: () => undefined,
    on: () => undefined,
    off: () => undefined,
    send: () => {
      throw new Error('there is no kernel');
    },
  };
}

async function shown(place: HTMLElement, graph: HTMLElement, brought: Promise<Rendered>): Promise<() => void> {
  const { profile, sources } = place.dataset;
  const data = new DataView(await inflated(bytes(profile)));
  const texts = JSON.parse(new TextDecoder().decode(await inflated(bytes(sources)))) as Record<string, string>;
  const { render } = (await brought).default;
  return render({ model: model({ data, sources: texts }), el: graph });
}

/** Shows the graph for as long as its place is one that can be seen. */
function keepShown(place: HTMLElement, brought: Promise<Rendered>): void {
  let graph: HTMLElement | null = null;
  let waiting = 0;
  let dispose = (): void => undefined;
  const pictures = place.querySelectorAll<HTMLElement>(':scope > .spprof-picture');

  const begin = async (): Promise<void> => {
    const made = document.createElement('div');
    graph = made;
    try {
      place.append(made);
      const end = await shown(place, made, brought);
      if (graph !== made) end();
      else {
        dispose = end;
        for (const picture of pictures) picture.hidden = true;
      }
    } catch (error) {
      made.remove();
      console.warn('spprof: the picture is all that can be shown here:', error);
    }
  };

  new IntersectionObserver((entries) => {
    const { isIntersecting } = entries[entries.length - 1];
    if (isIntersecting && !graph) {
      clearTimeout(waiting);
      waiting = window.setTimeout(() => void begin(), PATIENCE_MS);
    } else if (!isIntersecting && place.getClientRects().length === 0) {
      // A widget is there instead, or the page has put the output away.
      clearTimeout(waiting);
      dispose();
      dispose = () => undefined;
      graph?.remove();
      graph = null;
      for (const picture of pictures) picture.hidden = false;
    }
  }).observe(place);
}

for (const element of document.querySelectorAll<HTMLElement>('.spprof-front-end')) {
  const { version = '', script, style } = element.dataset;
  void frontEnd(version, () => ({ script: bytes(script), style: bytes(style) }));
}
for (const place of document.querySelectorAll<HTMLElement>('.spprof-saved:not([data-seen])')) {
  const brought = known(place.dataset.version ?? '');
  if (!brought) continue;
  place.dataset.seen = '';
  keepShown(place, brought);
}
