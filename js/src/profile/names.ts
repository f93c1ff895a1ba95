// Owns how a function is called on screen: short file, module, package, label. Knows nothing of weights.
import { NATIVE, type Profile } from './container';
import { LIBRARY, shortNative } from './native-names';
import type { FuncRow } from './rows';

export interface Place {
  /** Path as the profile has it. */
  path: string;
  /** Path a person recognises: from the package on, or the file alone. */
  file: string;
  /** Dotted module, `In [3]` for a cell, library name for native code. */
  module: string;
  /** What belongs together in colour and filters: the top package, or the file outside of packages. */
  group: string;
  origin: Origin;
}

export type Origin = 'cell' | 'package' | 'stdlib' | 'file' | 'library' | 'interpreter';

const PACKAGES = /^.*?(?:site|dist)-packages\//;
const STDLIB = /^(?:.*?\/)?(?:lib(?:64)?\/python\d[\w.]*|Lib(?=\/\w+(?:\/|\.py)))\//;
const CELL = /^(?:In \[.*\]|<ipython-input-(\d+)-.*>)$/;

/** Splits a file path into what people call it. */
export function place(path: string, native: boolean): Place {
  const cell = CELL.exec(path);
  if (cell) {
    const name = cell[1] ? `In [${cell[1]}]` : path;
    return { path, file: name, module: name, group: name, origin: 'cell' };
  }
  if (path === '' || path.startsWith('<')) {
    const frozen = /^<frozen (.*)>$/.exec(path);
    const module = frozen ? frozen[1] : path;
    return { path, file: path, module, group: module.split('.')[0], origin: 'interpreter' };
  }
  const slashed = path.replaceAll('\\', '/');
  let origin: Origin = native ? 'library' : 'file';
  let file = slashed;
  if (PACKAGES.test(slashed)) {
    origin = 'package';
    file = slashed.replace(PACKAGES, '');
  } else if (STDLIB.test(slashed)) {
    origin = 'stdlib';
    file = slashed.replace(STDLIB, '').replace(/^lib-dynload\//, '');
  } else {
    file = slashed.slice(slashed.lastIndexOf('/') + 1);
  }
  const bare = native ? file.replace(LIBRARY, '') : file.replace(/\.pyc?$/, '');
  const module = bare.replace(/\/__init__$/, '').replaceAll('/', '.');
  const top = bare.includes('/') ? bare.slice(0, bare.indexOf('/')) : bare;
  return { path, file, module, group: top.replace(/\.libs$/, ''), origin };
}

/** The names of every function of a profile, worked out when first asked for. */
export class Names {
  private readonly places: (Place | undefined)[];
  private readonly shortened: (string | undefined)[] = [];

  constructor(private readonly profile: Profile) {
    this.places = new Array<Place | undefined>(profile.strings.length * 2);
  }

  name(func: FuncRow): string {
    return this.profile.strings.get(this.profile.funcName[func]);
  }

  native(func: FuncRow): boolean {
    return (this.profile.funcFlags[func] & NATIVE) !== 0;
  }

  place(func: FuncRow): Place {
    const native = this.native(func);
    const file = this.profile.funcFile[func];
    return (this.places[file * 2 + (native ? 1 : 0)] ??= place(this.profile.strings.get(file), native));
  }

  /** What stands on a frame before the module: a cell's own code is called by its cell. */
  title(func: FuncRow): string {
    const name = this.name(func);
    const where = this.place(func);
    if (where.origin === 'cell' && (name === '<module>' || name === '<cell>' || name.startsWith('<cell line:')))
      return where.file;
    if (name === '') return '(unnamed)';
    return this.native(func) ? (this.shortened[func] ??= shortNative(name)) : name;
  }

  /** The name as the profile has it, where the title is a shorter form of it; otherwise empty. */
  whole(func: FuncRow): string {
    return this.native(func) && this.title(func) !== this.name(func) ? this.name(func) : '';
  }

  /** What stands behind it; empty where it would only say the same again. */
  module(func: FuncRow): string {
    const { module } = this.place(func);
    const title = this.title(func);
    return title === module || title.startsWith(`${module}.`) || title === `import ${module}` ? '' : module;
  }

  /** `sklearn/linear_model/_base.py:123`; the line is left out where there is none. */
  location(func: FuncRow, line = this.profile.funcLine[func]): string {
    const { file } = this.place(func);
    return line > 0 ? `${file || '?'}:${line}` : file || '?';
  }

  /** Identity of a function across two profiles of the same program. */
  identity(func: FuncRow): string {
    const p = this.profile;
    return `${p.funcFlags[func] & NATIVE}\0${p.strings.get(p.funcFile[func])}\0${this.name(func)}\0${p.funcLine[func]}`;
  }
}
