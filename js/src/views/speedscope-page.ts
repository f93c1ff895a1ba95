// Owns handing a profile to the bundled Speedscope: its page with the profile inside, as a Blob that never
// leaves the browser.

import type { Profile } from '../profile/container';
import { toSpeedscope } from '../profile/speedscope';

/** Base64 of UTF-8 text, in pieces that fit an argument list. */
function base64(text: string): string {
  const bytes = new TextEncoder().encode(text);
  const pieces: string[] = [];
  for (let at = 0; at < bytes.length; at += 0x8000)
    pieces.push(String.fromCharCode(...bytes.subarray(at, at + 0x8000)));
  return btoa(pieces.join(''));
}

// Speedscope offers `window.speedscope.loadFileFromBase64` to pages opened with #localProfilePath, and then
// adds a script element that would read a local file. Here the profile is in the page: the offer is taken,
// the element is not added. A page from a Blob may have no storage of its own, which Speedscope asks for.
const HANDOFF = `
const asked = window.matchMedia.bind(window);
// Speedscope asks what the system prefers; the page around it may be otherwise.
window.matchMedia = (query) => {
  const { dark } = document.getElementById('spprof-handoff').dataset;
  const answer = asked(query);
  if (!query.includes('prefers-color-scheme')) return answer;
  const matches = query.includes('dark') === (dark === 'true');
  return new Proxy(answer, { get: (at, name) => name === 'matches' ? matches : typeof at[name] === 'function' ? at[name].bind(at) : at[name] });
};
try { window.localStorage; } catch { Object.defineProperty(window, 'localStorage', { value: {} }); }
Object.defineProperty(window, 'speedscope', {
  set(offer) {
    const head = document.head, append = head.appendChild;
    head.appendChild = (element) => (head.appendChild = append, element);
    const { name, data } = document.getElementById('spprof-handoff').dataset;
    queueMicrotask(() => offer.loadFileFromBase64(name, data));
  },
});`;

function attribute(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;');
}

export interface Handed {
  readonly name: string;
  readonly dark: boolean;
}

/** Address of a page that shows the profile in Speedscope; revoke it when nothing shows it any more. */
export function speedscopeUrl(page: string, profile: Profile, { name, dark }: Handed): string {
  const data = base64(JSON.stringify(toSpeedscope(profile)));
  const handoff = `<div id="spprof-handoff" hidden data-name="${attribute(name)}.speedscope.json" data-dark="${dark}" data-data="${data}"></div><script>${HANDOFF}</script>`;
  // A function as replacement: the data must not be read for $ patterns.
  const filled = page.replace('</head><body>', (whole) => `${whole}${handoff}`);
  if (filled === page) throw new Error("Speedscope's page has changed: no place for the profile in it");
  return `${URL.createObjectURL(new Blob([filled], { type: 'text/html;charset=utf-8' }))}#localProfilePath=profile`;
}
