// Owns how functions of machine code are called: C and C++, Rust, Cython. `_profile/names.py` has the same rules;
// tests/examples/native_names.json holds both to the same answers. Knows no profile.

// numpy/_core/_multiarray_umath.cpython-311-x86_64-linux-gnu.so, libc.so.6, python311.dll
export const LIBRARY = /(?:\.(?:cpython|cp|abi|pypy)[\w-]*)?(?:\.so(?:\.[\d.]+)?|\.pyd|\.dylib|\.dll)$/i;

// What compilers append to a function that they took apart, and Rust to every one.
const APPENDED =
  /(?:\.(?:cold|part|constprop|isra|lto_priv|localalias|llvm|_omp_fn|warm)(?:\.\d+)*| \[clone [^\]]*\]| \(\.[\w.]+\)|::h[\da-f]{16})+$/;
const DISAMBIGUATOR = /(?<=\w)\[[\da-f]{1,16}\](?=::|$)/g;
const ABI = /\[abi:\w+\]/g;
// Namespaces that a library's authors put in for its linker.
const INLINE_NAMESPACE = /\b(std)::(?:__cxx11|__1|__ndk1|_V2)::/g;

const RUST_ESCAPES: Record<string, string> = {
  $LT$: '<',
  $GT$: '>',
  $RF$: '&',
  $BP$: '*',
  $C$: ',',
  $LP$: '(',
  $RP$: ')',
  $u20$: ' ',
  $u27$: "'",
  $u5b$: '[',
  $u5d$: ']',
  $u7b$: '{',
  $u7d$: '}',
  '..': '::',
};
const RUST_ESCAPE = /\$(?:LT|GT|RF|BP|C|LP|RP|u[\da-f]{2})\$|\.\./;

const OPERATOR =
  /operator(?: ?(\(\)|\[\]|->\*?|<=>|<<=|>>=|<<|>>|&&|\|\||\+\+|--|[-+*/%^&|~!=<>]=?|,)|( (?:new|delete)(?:\[\])?| co_await)|("" ?\w+)|(?= ))/y;
// After parameters: either a scope goes on, or nothing that counts follows.
const SCOPE_GOES_ON = /(?: const| volatile| ?&&?)*(?=::)/y;
const NOTHING_FOLLOWS = /(?: const| volatile| ?&&?| noexcept)*(?: requires .*)?$/y;
const PATH = /^[A-Za-z_]\w+(?:::|<|$)/;

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

/** A function's name without what compilers append: `.isra.0`, ` [clone .cold]`, a hash. */
export function withoutSuffixes(name: string): string {
  return name.includes('.') || name.includes('::h') ? name.replace(APPENDED, '') : name;
}

/**
 * A function of C, C++, Rust or Cython as people call it: C++ and Rust without return type, template arguments,
 * parameters, hashes and disambiguators, Cython as `module.function`. A name that does not read as one stays as
 * it is.
 */
export function shortNative(name: string): string {
  const offset = /^(.+)\+(0x[\da-f]+)$/.exec(name);
  if (offset) return `${offset[1].slice(offset[1].lastIndexOf('/') + 1).replace(LIBRARY, '')}+${offset[2]}`;
  let plain = withoutSuffixes(name);
  if (/[<([$]/.test(plain)) plain = new Signature(unescaped(plain)).read() || plain;
  // The code of a Cython module itself, as Python calls it.
  return /^__pyx_pymod_exec_\w+$/.test(plain) ? '<module>' : (cythonParts(plain)?.name ?? plain);
}

/** Rust's older names as they were written, any name without disambiguators. */
function unescaped(name: string): string {
  let text = name;
  if (text.includes('$') && RUST_ESCAPE.test(text)) {
    text = text.replace(new RegExp(RUST_ESCAPE, 'g'), (found) => RUST_ESCAPES[found] ?? found);
    text = text.replace(/(^|::)_</g, '$1<');
  }
  if (text.includes('[')) text = text.replace(ABI, '').replace(DISAMBIGUATOR, '');
  return text.replace(INLINE_NAMESPACE, '$1::');
}

/** Reads one demangled name from left to right, once. */
class Signature {
  private at = 0;
  /** What of the name was read since the last space. */
  private word = '';

  constructor(private readonly text: string) {}

  /** The name that is declared; empty where this is no declaration. */
  read(): string {
    const { text } = this;
    let wrapped = false;
    let before = '';
    while (this.at < text.length) {
      const letter = text[this.at];
      if (letter === 'o' && text.startsWith('operator', this.at) && !/[\w$]$/.test(this.word)) {
        if (!this.operator()) return '';
      } else if (letter === '(' && text.startsWith('(anonymous namespace)', this.at)) {
        this.word += '(anonymous)';
        this.at += '(anonymous namespace)'.length;
      } else if (letter === '{') {
        const end = this.closing('{', '}');
        if (end < 0) return '';
        this.word += text.slice(this.at, end).replace(/^\{lambda\(.*\)(#\d+)?\}$/, '{lambda$1}');
        this.at = end;
      } else if (letter === '<') {
        if (this.word === '' && before === '') {
          if (!this.qualified()) return '';
          continue;
        }
        const end = this.afterArguments();
        if (end < 0) return '';
        // Rust's turbofish: `collect::<Vec<u8>>`.
        if (this.word.endsWith('::')) this.word = this.word.slice(0, -2);
        this.at = end;
      } else if (letter === '(') {
        if (this.word === 'decltype' || (this.word === '' && before === 'decltype')) {
          const end = this.closing('(', ')');
          if (end < 0) return '';
          this.at = end;
          before = 'decltype';
          this.word = '';
        } else if (this.word === '' && before !== '' && (text[this.at + 1] === '*' || text[this.at + 1] === '&')) {
          wrapped = true; // a function that returns one
          this.at += 2;
        } else {
          const follows = this.parameters(wrapped);
          if (follows !== 'scope') return follows === 'nothing' ? this.checked() : '';
        }
      } else if (letter === ' ') {
        if (this.word !== '') {
          before = this.word;
          this.word = '';
        }
        this.at++;
      } else if ('>)[]},;='.includes(letter)) {
        return '';
      } else {
        if ((letter !== '*' && letter !== '&') || this.word !== '') this.word += letter;
        this.at++;
      }
    }
    return this.checked();
  }

  private checked(): string {
    const word = this.word
      .replace(/^[*&]+/, '')
      .replace(/(\{lambda(?:#\d+)?\}|'lambda\d*')::(?:operator\(\)|_FUN)$/, '$1')
      .replace(/::__pymethod_(\w+)__$/, '::$1');
    return word.startsWith('::') || word.endsWith('::') ? '' : word;
  }

  /** Skips them, and says what follows. */
  private parameters(wrapped: boolean): 'scope' | 'nothing' | 'unknown' {
    const end = this.closing('(', ')');
    if (this.word === '' || end < 0) return 'unknown';
    if (matchAt(SCOPE_GOES_ON, this.text, end)) {
      this.at = SCOPE_GOES_ON.lastIndex;
      return 'scope';
    }
    return wrapped || matchAt(NOTHING_FOLLOWS, this.text, end) ? 'nothing' : 'unknown';
  }

  private operator(): boolean {
    const { text } = this;
    const found = matchAt(OPERATOR, text, this.at);
    if (!found) {
      // An identifier that begins so: `operators`.
      this.word += 'operator';
      this.at += 'operator'.length;
      return true;
    }
    this.at += found[0].length;
    const symbol = found[1] ?? found[2] ?? found[3];
    if (symbol) {
      this.word += `operator${symbol}`;
      if (text.startsWith(' <', this.at)) this.at++;
      return true;
    }
    // A conversion: what stands before its parameters is a type.
    const start = this.at + 1;
    while (this.at < text.length && text[this.at] !== '(') {
      if (text[this.at] === '<') {
        this.at = this.afterArguments();
        if (this.at < 0) return false;
      } else {
        this.at++;
      }
    }
    const kind = text.slice(start, this.at);
    this.word += `operator ${new Signature(kind).read() || kind}`;
    return true;
  }

  /** Rust's `<Type>::` and `<Type as Trait>::`; the trait where the type has no name. */
  private qualified(): boolean {
    const end = this.afterArguments();
    if (end < 0) return false;
    const inner = this.text.slice(this.at + 1, end - 1);
    this.at = end;
    if (inner.startsWith('lambda(')) {
      this.word = '{lambda}';
      return true;
    }
    let kind = inner;
    let trait = '';
    let depth = 0;
    for (let at = 0; at < inner.length; at++) {
      const letter = inner[at];
      if ('<(['.includes(letter)) {
        depth++;
      } else if ('>)]'.includes(letter) && !(letter === '>' && inner[at - 1] === '-')) {
        depth--;
      } else if (depth === 0 && letter === ' ' && inner.startsWith(' as ', at)) {
        kind = inner.slice(0, at);
        trait = inner.slice(at + 4);
        break;
      }
    }
    const chosen = trait !== '' && !PATH.test(kind) ? trait : kind;
    this.word = PATH.test(chosen) ? new Signature(chosen).read() : chosen;
    return this.word !== '';
  }

  /** Where the text goes on behind what is opened here; -1: it is never closed. */
  private closing(opens: string, closes: string): number {
    let depth = 0;
    for (let at = this.at; at < this.text.length; at++) {
      const letter = this.text[at];
      if (letter === opens) depth++;
      else if (letter === closes && --depth === 0) return at + 1;
    }
    return -1;
  }

  /**
   * Where the text goes on behind the template arguments here; -1: they never end. Comparisons among them stand
   * in parentheses, in which only parentheses count.
   */
  private afterArguments(): number {
    const { text } = this;
    let depth = 0;
    let round = 0;
    let at = this.at;
    while (at < text.length) {
      const letter = text[at];
      if (letter === '(') {
        round++;
      } else if (letter === ')') {
        round--;
      } else if (round > 0) {
        // Until it is closed.
      } else if (letter === '<') {
        depth++;
      } else if (letter === '>' && text[at - 1] !== '-') {
        if (--depth === 0) return at + 1;
      } else if (letter === 'o' && text.startsWith('operator', at) && !/[\w$]/.test(text[at - 1])) {
        const found = matchAt(OPERATOR, text, at);
        if (found?.[1]) {
          at += found[0].length;
          continue;
        }
      }
      at++;
    }
    return -1;
  }
}

// `__pyx_pw_7sklearn_4tree_5_tree_4Tree_7fit`: how it is called, the way there, and a number that keeps apart what
// has one name.
const CYTHON = /^(?:__pyx_specialmethod_)?_*(?:pyx_fuse_[\d_]+?__)?(?:_*pyx_)?(pw|pf|f|ff|gb|getprop|setprop)_(\d.*)$/;
const FUSED = /__pyx_fuse_\d+(?:_\d+)*_?/g;
// Where a function calls another of its own name, the one that comes later is called.
const CYTHON_RANKS: Record<string, number> = { pw: 1, pf: 2, f: 3, ff: 3, gb: 3, getprop: 2, setprop: 2 };

/** What kind of function Cython made this, and the dotted name it was made of. */
function cythonParts(name: string): { kind: string; name: string } | null {
  if (!name.includes('__pyx_')) return null;
  const found = CYTHON.exec(name);
  if (!found) return null;
  const kind = found[1];
  let rest = found[2];
  const parts: string[] = [];
  for (;;) {
    const step = /^\d+/.exec(rest);
    if (!step) break;
    const start = step[0].length;
    const part = rest.slice(start, start + Number(step[0]));
    const after = rest.slice(start + Number(step[0]));
    if (part.length < Number(step[0]) || !after.startsWith('_') || after.length < 2 || /^\d/.test(part)) break;
    // What looks like a length is the number of a wrapper: `3fit_transform`.
    if (kind === 'pw' && !/^_\d/.test(after)) break;
    parts.push(part);
    rest = after.slice(1);
  }
  const last = rest.replace(/^\d+/, '').replace(FUSED, '');
  return parts.length > 0 && last !== '' ? { kind, name: [...parts, last].join('.') } : null;
}

/** 0 for what Cython did not make; a function calls the one of its own name and higher rank. */
export function cythonRank(name: string): number {
  if (!name.includes('__pyx_')) return 0;
  const plain = withoutSuffixes(name).replace(/\(.*$/, '');
  return CYTHON_RANKS[cythonParts(plain)?.kind ?? ''] ?? 0;
}
