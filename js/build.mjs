// Builds the front end: the widget module, the standalone page's script and style, and the bundled
// Speedscope as one page. `node build.mjs [--outdir DIR]`; needs no network.

import { cp, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const { values } = parseArgs({ options: { outdir: { type: 'string' } } });
const outdir = resolve(values.outdir ?? process.env.SPPROF_STATIC_DIR ?? join(here, '..', 'src', 'spprof', 'static'));

const shared = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  legalComments: 'none',
  target: ['es2022', 'chrome110', 'firefox113', 'safari16'],
  charset: 'utf8',
  logLevel: 'warning',
};

/** Speedscope's release with its script, style and font inlined, so that it runs from a Blob. */
async function speedscopePage(release) {
  const names = await readdir(release);
  const read = (name) => readFile(join(release, name));
  const only = (pattern) => {
    const found = names.filter((name) => pattern.test(name));
    if (found.length !== 1) throw new Error(`speedscope release: ${found.length} files match ${pattern}`);
    return found[0];
  };
  const font = only(/\.woff2$/);
  const fontUrl = `data:font/woff2;base64,${(await read(font)).toString('base64')}`;
  const style = (await read(only(/^speedscope-.*\.css$/)))
    .toString()
    .replace(/url\((["']?)([^)"']+)\1\)/g, (whole, _quote, url) => (url.endsWith(font) ? `url(${fontUrl})` : whole));
  // Inside <script> the HTML parser looks for these two, wherever they stand in the source.
  const script = (await read(only(/^speedscope-.*\.js$/)))
    .toString()
    .replace(/\n?\/\/# sourceMappingURL=.*\s*$/, '')
    .replace(/<\/(script)/gi, '<\\/$1')
    .replace(/<!--/g, '<\\!--');
  return [
    '<!DOCTYPE html><html lang="en"><head><meta charset="UTF-8"><title>speedscope</title>',
    '<meta name="viewport" content="width=device-width, initial-scale=1.0">',
    `<style>${style}</style>`,
    `</head><body><script>${script}</script></body></html>\n`,
  ].join('\n');
}

await mkdir(join(outdir, 'speedscope'), { recursive: true });
await build({
  ...shared,
  entryPoints: { widget: 'src/widget.ts' },
  outdir,
  format: 'esm',
});
await build({
  ...shared,
  entryPoints: { standalone: 'src/standalone.ts' },
  outdir,
  format: 'iife',
});

await build({
  ...shared,
  entryPoints: { saved: 'src/saved.ts' },
  outdir,
  format: 'iife',
});

await build({
  ...shared,
  entryPoints: { loader: 'src/loader.ts' },
  outdir,
  format: 'esm',
});

const speedscope = join(here, 'node_modules', 'speedscope');
const release = join(speedscope, 'dist', 'release');
await writeFile(join(outdir, 'speedscope', 'index.html'), await speedscopePage(release));
await cp(join(speedscope, 'LICENSE'), join(outdir, 'speedscope', 'LICENSE'));
for (const name of ['release.txt', 'source-code-pro.LICENSE.md']) {
  await cp(join(release, name), join(outdir, 'speedscope', name));
}

await cp(join(here, 'node_modules', '@preact', 'signals-core', 'LICENSE'), join(outdir, 'signals-core.LICENSE'));

/** Gzipped, without Speedscope, which only comes when asked for. */
const LIMIT = 120_000;
let bundle = 0;
for (const name of [
  'widget.js',
  'widget.css',
  'loader.js',
  'saved.js',
  'standalone.js',
  'standalone.css',
  'speedscope/index.html',
]) {
  const path = join(outdir, name);
  const zipped = gzipSync(await readFile(path), { level: 9 }).length;
  console.log(`${name.padEnd(22)} ${(await stat(path)).size.toString().padStart(8)} B  ${zipped} B gzipped`);
  if (name.startsWith('widget')) bundle += zipped;
}
if (bundle > LIMIT) throw new Error(`the widget is ${bundle} B gzipped, more than the ${LIMIT} B it may be`);
