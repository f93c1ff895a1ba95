// Owns whether the page around us is light or dark, and tells when that changes.

export type ThemeChoice = 'auto' | 'light' | 'dark';

/** Lightness 0-1 of a CSS colour as computed styles spell it, null where it lets the page shine through. */
export function lightnessOf(color: string): number | null {
  const numbers = /^rgba?\(([^)]+)\)$/
    .exec(color)?.[1]
    .split(/[\s,/]+/)
    .map(Number);
  if (!numbers || numbers.length < 3 || numbers.some(Number.isNaN)) return null;
  const [r, g, b, alpha = 1] = numbers;
  return alpha < 0.5 ? null : (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
}

/** What the host says of itself, or what its background shows, or what the reader prefers. */
export function hostIsDark(element: Element): boolean {
  const { body } = document;
  const jupyter = body.getAttribute('data-jp-theme-light');
  if (jupyter !== null) return jupyter === 'false';
  const code = /^vscode-(?:high-contrast-)?(dark|light|high-contrast)$/;
  const kinds = Array.from(body.classList, (name) => code.exec(name)?.[1] ?? '').filter((kind) => kind !== '');
  // VS Code marks its light high contrast with both classes.
  if (kinds.length > 0) return !kinds.includes('light');
  for (let at: Node | null = element; at; at = at instanceof ShadowRoot ? at.host : at.parentNode) {
    if (!(at instanceof Element) || at === element) continue;
    const lightness = lightnessOf(getComputedStyle(at).backgroundColor);
    if (lightness !== null) return lightness < 0.5;
  }
  // A page that never declared itself fit for dark is white, whatever the reader prefers.
  return (
    getComputedStyle(document.documentElement).colorScheme.includes('dark') &&
    matchMedia('(prefers-color-scheme: dark)').matches
  );
}

/** Keeps `data-theme` and `data-colors` of the root true to the choice and the host. */
export class Theme {
  private dark = false;
  private choice: ThemeChoice = 'auto';
  private readonly observer: MutationObserver;
  private readonly preference = matchMedia('(prefers-color-scheme: dark)');
  private readonly look = (): void => {
    // Hosts flip the marker first and load the colours after it.
    this.apply();
    requestAnimationFrame(() => this.apply());
    setTimeout(() => this.apply(), 250);
  };

  constructor(
    private readonly root: HTMLElement,
    private readonly changed: (dark: boolean) => void,
  ) {
    this.observer = new MutationObserver(this.look);
    for (const element of [document.documentElement, document.body]) {
      this.observer.observe(element, {
        attributes: true,
        attributeFilter: [
          'class',
          'style',
          'theme',
          'data-theme',
          'data-jp-theme-light',
          'data-jp-theme-name',
          'data-vscode-theme-kind',
        ],
      });
    }
    this.preference.addEventListener('change', this.look);
    // Hosts may put us on the page only after making us; what lies behind us shows then.
    this.look();
  }

  set(choice: ThemeChoice): void {
    this.choice = choice;
    this.apply();
  }

  private signature = '';

  private apply(): void {
    this.dark = this.choice === 'auto' ? hostIsDark(this.root) : this.choice === 'dark';
    this.root.dataset.theme = this.dark ? 'dark' : 'light';
    // Against the host's will its colours would not fit ours.
    this.root.dataset.colors = this.choice === 'auto' ? 'host' : 'own';
    const style = getComputedStyle(this.root);
    const signature = `${this.dark}|${style.getPropertyValue('--sp-bg')}|${style.getPropertyValue('--sp-fg')}`;
    if (signature === this.signature) return;
    this.signature = signature;
    this.changed(this.dark);
  }

  dispose(): void {
    this.observer.disconnect();
    this.preference.removeEventListener('change', this.look);
  }
}
