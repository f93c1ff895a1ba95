// @vitest-environment happy-dom
import { afterEach, describe, expect, it } from 'vitest';
import { hostIsDark, lightnessOf } from './theme';

describe('lightnessOf', () => {
  it('reads computed colours, and sees through transparent ones', () => {
    expect(lightnessOf('rgb(255, 255, 255)')).toBeCloseTo(1, 6);
    expect(lightnessOf('rgb(17, 17, 17)')).toBeLessThan(0.1);
    expect(lightnessOf('rgba(0, 0, 0, 0)')).toBeNull();
    expect(lightnessOf('rgb(255 0 0 / 1)')).toBeCloseTo(0.2126, 4);
    expect(lightnessOf('')).toBeNull();
  });
});

describe('hostIsDark', () => {
  afterEach(() => {
    document.body.removeAttribute('data-jp-theme-light');
    document.body.className = '';
    document.body.replaceChildren();
  });

  it('believes JupyterLab and VS Code', () => {
    document.body.setAttribute('data-jp-theme-light', 'false');
    expect(hostIsDark(document.body)).toBe(true);
    document.body.setAttribute('data-jp-theme-light', 'true');
    expect(hostIsDark(document.body)).toBe(false);
    document.body.removeAttribute('data-jp-theme-light');
    for (const [classes, dark] of [
      ['vscode-dark', true],
      ['vscode-light', false],
      ['vscode-high-contrast', true],
      ['vscode-high-contrast vscode-high-contrast-light', false],
    ] as const) {
      document.body.className = classes;
      expect(hostIsDark(document.body), classes).toBe(dark);
    }
  });

  it('else looks at what lies behind', () => {
    const outer = document.createElement('div');
    const inner = document.createElement('div');
    outer.style.backgroundColor = 'rgb(20, 20, 20)';
    outer.append(inner);
    document.body.append(outer);
    expect(hostIsDark(inner)).toBe(true);
    outer.style.backgroundColor = 'rgb(250, 250, 250)';
    expect(hostIsDark(inner)).toBe(false);
  });
});
