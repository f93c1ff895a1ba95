// Owns the self-contained page: finds the profile in it, and Speedscope and sources where they are, and fills
// the page with the views.
import './style.css';
import './standalone.css';
import { App, type Host } from './shell/app';

/** The bytes of a base64 script element, inflated where it says so. */
async function embedded(element: Element): Promise<ArrayBuffer> {
  const binary = atob((element.textContent ?? '').trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  if (element.getAttribute('data-encoding') !== 'deflate') return bytes.buffer;
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'))).arrayBuffer();
}

async function text(id: string): Promise<string | null> {
  const element = document.getElementById(id);
  return element ? new TextDecoder().decode(await embedded(element)) : null;
}

async function main(): Promise<void> {
  const root = document.getElementById('spprof-root');
  const data = document.getElementById('spprof-profile');
  if (!root || !data) throw new Error('this page holds no profile');
  let sources: Promise<Record<string, string>> | null = null;
  // The page is ours: it says what it is, and every key pressed on it is meant for it.
  root.setAttribute('role', 'main');
  const heading = document.createElement('h1');
  heading.textContent = document.title;
  root.append(heading);
  const host: Host = {
    selected: () => undefined,
    searched: () => undefined,
    viewed: () => undefined,
    // As the file is called that the page came from.
    name: () => decodeURIComponent(/([^/]*?)(?:\.html?)?$/.exec(location.pathname)?.[1] ?? ''),
    source: async (path) => {
      sources ??= text('spprof-sources').then((json) => JSON.parse(json ?? '{}') as Record<string, string>);
      return (await sources)[path] ?? null;
    },
    speedscope: () => text('spprof-speedscope'),
    whole: () => Promise.resolve(null),
  };
  const app = new App(root, host, document);
  app.setData(await embedded(data));
}

void main();
