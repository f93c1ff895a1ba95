// Owns what views leave out so that people see their program: calls between calls, and what an import does.
// `_profile/folding.py` has the same rules, from the same file of names, and says why; tests/examples holds both to
// the same answers. Knows nothing of trees or views.
import rules from '../../../src/spprof/_profile/folding.json';
import { NATIVE, type Profile } from './container';
import { place } from './names';
import { cythonRank, shortNative, withoutSuffixes } from './native-names';
import { NodeTable } from './node-table';
import { type Column, type FuncRow, rowsOf, type SampleRow, type StackRow, type StringRow } from './rows';

/** A profile in both forms: functions have the same rows, those that stand for imports at the end. */
export interface Folded {
  /** As it came: without functions that stand for imports. */
  readonly whole: Profile;
  readonly all: Profile;
  /** The same object where nothing is folded. */
  readonly folded: Profile;
}

// What a function is to the folding; several may hold.
const NOISE = 1; // left out, wherever it stands
const IMPORTS = 2; // begins an import, and is part of one
const INSIDE = 4; // part of an import where one goes on, otherwise shown
const BODY = 8; // the code of a module
const CALLS = 16; // the interpreter's own: what it calls in an import is the module that is imported

const anyOf = (patterns: readonly string[]): RegExp => new RegExp(patterns.map((each) => `(?:${each})`).join('|'));
const INTERPRETER = anyOf(rules.interpreter);
const SYSTEM = anyOf(rules.system);
const IMPORTLIB = anyOf(rules.importlib);
const IMPORTING = anyOf(rules.importing);
const CALLING = anyOf(rules.calling);
const BINDING = anyOf(rules.binding);

/** Of an import that no code of a module was met in. */
const UNKNOWN_FILE = '<frozen importlib._bootstrap>';

/** Which of the rules for files a file meets. */
function whoseIs(file: string): keyof typeof rules | null {
  const path = file.replaceAll('\\', '/');
  if (IMPORTLIB.test(path)) return 'importlib';
  return INTERPRETER.test(path) ? 'interpreter' : SYSTEM.test(path) ? 'system' : null;
}

function traitsOf(name: string, whose: keyof typeof rules | null, native: boolean): number {
  if (!native) return name === '<module>' ? BODY : whose === 'importlib' ? IMPORTS : 0;
  if (whose === 'interpreter') {
    const plain = withoutSuffixes(name);
    return IMPORTING.test(plain) ? IMPORTS | CALLS : INSIDE | CALLS | (CALLING.test(plain) ? NOISE : 0);
  }
  return whose === 'system' ? INSIDE : BINDING.test(shortNative(name)) ? NOISE : 0;
}

const PACKAGE = '/__init__.py';

/** Folders that are packages, as far as files of a profile tell it. */
function packages(files: Iterable<string>): Set<string> {
  const found = new Set<string>();
  for (const file of files) {
    const slashed = file.replaceAll('\\', '/');
    if (slashed.endsWith(PACKAGE)) found.add(slashed.slice(0, -PACKAGE.length));
  }
  return found;
}

/**
 * Dotted name of the module whose code is in a file, as far as paths tell it. Outside of what is installed nothing
 * in a path says where packages begin: they do where `known`, the packages that were met, end.
 */
export function importedModule(file: string, native: boolean, known: ReadonlySet<string> = new Set()): string {
  const { origin, module } = place(file, native);
  if (origin !== 'file') return module;
  const folders = file.replaceAll('\\', '/').split('/').slice(0, -1);
  const names = module !== '__init__' ? [module] : folders.length > 0 ? [folders.pop() as string] : [];
  while (known.has(folders.join('/'))) names.push(folders.pop() as string);
  return names.reverse().join('.') || module;
}

/** A module that an import led to; null where it is not known. */
type Imported = { readonly name: string; readonly file: StringRow; readonly flags: number } | null;

/** The stacks of a profile, folded: first as a tree in which imports have no names yet. */
class Folding {
  // What a node stands for is a frame, or below 0 an import: ~row of `imported`. Node 0 is that nothing is shown.
  private readonly table = new NodeTable();
  private readonly imported: Imported[] = [null];
  private readonly importedRows = new Map<string, number>();
  private readonly packages: Set<string>;
  /** Modules that the import at a node led to. */
  private readonly ledTo = new Map<number, number[]>();

  constructor(
    private readonly profile: Profile,
    private readonly traits: Uint8Array,
    private readonly ranks: Uint8Array,
  ) {
    const files = new Set(profile.funcFile as unknown as ArrayLike<StringRow> & Iterable<StringRow>);
    this.packages = packages(Array.from(files, (file) => profile.strings.get(file)));
  }

  /** Row of the module that a function is the beginning of. */
  private moduleOf(func: FuncRow): number {
    const { funcFile, funcFlags, strings } = this.profile;
    const file = funcFile[func];
    const flags = funcFlags[func] & NATIVE;
    const key = `${file},${flags}`;
    let row = this.importedRows.get(key);
    if (row === undefined) {
      const name = importedModule(strings.get(file), flags !== 0, this.packages);
      row = this.imported.push({ name, file, flags }) - 1;
      this.importedRows.set(key, row);
    }
    return row;
  }

  /** The node of each stack. */
  private placed(): Int32Array {
    const { profile, table, traits, ranks } = this;
    const { stackParent, stackFrame, frameFunc, funcFlags } = profile;
    const nodes = new Int32Array(stackParent.length);
    const within = new Uint8Array(stackParent.length); // the stack ends in an import
    for (let stack = 0 as StackRow; stack < stackParent.length; stack++) {
      const caller = stackParent[stack];
      const frame = stackFrame[stack];
      const func = frameFunc[frame];
      const trait = traits[func];
      let above = caller >= 0 ? nodes[caller] : 0;
      if (caller >= 0 && within[caller]) {
        if (trait & (IMPORTS | INSIDE | NOISE)) {
          nodes[stack] = above;
          within[stack] = 1;
          continue;
        }
        const fromInterpreter = traits[frameFunc[stackFrame[caller]]] & CALLS;
        if (trait & BODY || (funcFlags[func] & NATIVE && fromInterpreter)) {
          const module = this.moduleOf(func);
          const ledTo = this.ledTo.get(above);
          if (!ledTo) this.ledTo.set(above, [module]);
          else if (!ledTo.includes(module)) ledTo.push(module);
          above = table.child(table.parent[above], ~module);
        }
        nodes[stack] = table.child(above, frame);
      } else if (trait & IMPORTS) {
        nodes[stack] = table.child(above, ~0);
        within[stack] = 1;
      } else if (trait & NOISE || (ranks[func] > 1 && this.wrapped(caller, func))) {
        nodes[stack] = above;
      } else {
        nodes[stack] = table.child(above, frame);
      }
    }
    return nodes;
  }

  /** Whether the caller is what Cython put around this function. */
  private wrapped(caller: StackRow, func: FuncRow): boolean {
    if (caller < 0) return false;
    const { strings, funcName, frameFunc, stackFrame } = this.profile;
    const outer = frameFunc[stackFrame[caller]];
    if (this.ranks[outer] === 0 || this.ranks[outer] >= this.ranks[func]) return false;
    return shortNative(strings.get(funcName[outer])) === shortNative(strings.get(funcName[func]));
  }

  private nameOf(row: number): string {
    return this.imported[row]?.name ?? '';
  }

  /** The one module that all belong to, itself or as packages on the way to it; else 0. */
  private named(ledTo: readonly number[]): number {
    let longest = ledTo[0];
    for (const row of ledTo) if (this.nameOf(row).length > this.nameOf(longest).length) longest = row;
    const name = `${this.nameOf(longest)}.`;
    return ledTo.every((row) => name.startsWith(`${this.nameOf(row)}.`)) ? longest : 0;
  }

  result(): Folded {
    const { profile, table } = this;
    const nodes = this.placed();
    // A sample of which nothing is shown keeps its innermost frame.
    const { sampleStack } = profile;
    const sampleNode = new Int32Array(sampleStack.length);
    for (let row = 0 as SampleRow; row < sampleStack.length; row++) {
      const stack = sampleStack[row];
      sampleNode[row] = nodes[stack] > 0 ? nodes[stack] : table.child(0, profile.stackFrame[stack]);
    }
    const what = table.key.slice(0, table.length);
    for (const [node, ledTo] of this.ledTo) what[node] = ~this.named(ledTo);

    const extension = new Extension(profile);
    const frames = new Map<number, number>();
    const stacks = new NodeTable();
    const stackOf = new Int32Array(table.length);
    for (let node = 1; node < table.length; node++) {
      let frame: number | undefined = what[node];
      if (frame < 0) {
        frame = frames.get(what[node]);
        if (frame === undefined) frames.set(what[node], (frame = extension.importOf(this.imported[~what[node]])));
      }
      stackOf[node] = stacks.child(stackOf[table.parent[node]], frame);
    }
    const all = extension.profile();
    return {
      whole: profile,
      all,
      folded: {
        ...all,
        // Rows of the table begin with one that is no stack.
        stackParent: stacks.parent.subarray(1, stacks.length).map((node) => node - 1) as unknown as Column<
          StackRow,
          StackRow
        >,
        stackFrame: stacks.key.slice(1, stacks.length) as unknown as Profile['stackFrame'],
        sampleStack: sampleNode.map((node) => stackOf[node] - 1) as unknown as Column<SampleRow, StackRow>,
      },
    };
  }
}

/** Strings, functions and frames of a profile, and those that stand for its imports. */
class Extension {
  private readonly names: string[] = [];
  private readonly titles: StringRow[] = [];
  private readonly files: StringRow[] = [];
  private readonly flags: number[] = [];

  constructor(private readonly of: Profile) {}

  private string(text: string): StringRow {
    return (this.of.strings.length + this.names.push(text) - 1) as StringRow;
  }

  /** The frame that stands for the import of a module, or of one that is not known. */
  importOf(module: Imported): number {
    this.files.push(module ? module.file : this.string(UNKNOWN_FILE));
    this.flags.push(module ? module.flags : 0);
    this.titles.push(this.string(module ? `import ${module.name}` : 'import'));
    return this.of.frameFunc.length + this.files.length - 1;
  }

  profile(): Profile {
    const { of, titles, files, flags } = this;
    const functions = of.funcName.length;
    const zeros = files.map(() => 0);
    const longer = <At extends number, Value extends number>(
      column: Column<At, Value>,
      more: readonly number[],
    ): Column<At, Value> => {
      const result = new Int32Array(column.length + more.length);
      result.set(column as unknown as ArrayLike<number>);
      result.set(more, column.length);
      return result as unknown as Column<At, Value>;
    };
    return {
      ...of,
      strings: of.strings.with(this.names),
      funcName: longer(of.funcName, titles),
      funcFile: longer(of.funcFile, files),
      funcLine: longer(of.funcLine, zeros),
      funcFlags: longer(of.funcFlags, flags),
      frameFunc: longer(
        of.frameFunc,
        files.map((_, i) => functions + i),
      ),
      frameLine: longer(of.frameLine, zeros),
    };
  }
}

/** The profile as people are shown it, every sample still there, and with all its frames. */
export function fold(profile: Profile): Folded {
  const { funcName, funcFile, funcFlags, strings } = profile;
  const traits = new Uint8Array(funcName.length);
  const ranks = new Uint8Array(funcName.length);
  const owners = new Map<StringRow, keyof typeof rules | null>();
  let any = false;
  for (const func of rowsOf<FuncRow>(funcName.length)) {
    const native = (funcFlags[func] & NATIVE) !== 0;
    const name = strings.get(funcName[func]);
    let whose = owners.get(funcFile[func]);
    if (whose === undefined) owners.set(funcFile[func], (whose = whoseIs(strings.get(funcFile[func]))));
    traits[func] = traitsOf(name, whose, native);
    if (native) ranks[func] = cythonRank(name);
    any ||= (traits[func] & (NOISE | IMPORTS)) !== 0 || ranks[func] > 0;
  }
  return any ? new Folding(profile, traits, ranks).result() : { whole: profile, all: profile, folded: profile };
}
