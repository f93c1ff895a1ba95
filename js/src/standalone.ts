// Owns the self-contained page: finds the profile in it, decodes it and fills the page with the views.
import './style.css';
import './standalone.css';
import { App } from './views/app';

/** The bytes of a base64 script element, inflated where it says so. */
async function embedded(element: Element): Promise<ArrayBuffer> {
  const text = (element.textContent ?? '').trim();
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  if (element.getAttribute('data-encoding') !== 'deflate') return bytes.buffer;
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'))).arrayBuffer();
}

async function main(): Promise<void> {
  const root = document.getElementById('spprof-root');
  const data = document.getElementById('spprof-profile');
  if (!root || !data) throw new Error('this page holds no profile');
  const app = new App(root, { selected: () => undefined, searched: () => undefined, viewed: () => undefined });
  app.setData(await embedded(data));
}

void main();
