"""How files and functions are called on screen: short file, module, package, title.

`js/src/profile/names.ts` and `native-names.ts` are the same rules for the widget; `tests/examples`
holds both to the same answers. Must not know tables, nor what shows a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

# --- files ----------------------------------------------------------------------------------------

_PACKAGES = re.compile(r"^.*?(?:site|dist)-packages/")
_STDLIB = re.compile(r"^(?:.*?/)?(?:lib(?:64)?/python\d[\w.]*|Lib(?=/\w+(?:/|\.py)))/", re.ASCII)
_CELL = re.compile(r"^(?:In \[.*\]|<ipython-input-(\d+)-.*>)$")
# numpy/_core/_multiarray_umath.cpython-311-x86_64-linux-gnu.so, libc.so.6, python311.dll
_LIBRARY = re.compile(
    r"(?:\.(?:cpython|cp|abi|pypy)[\w-]*)?(?:\.so(?:\.[\d.]+)?|\.pyd|\.dylib|\.dll)$",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True)
class Place:
    """Where a function is from: `file` as people know it, dotted `module`, colour `group`."""

    file: str
    module: str
    group: str
    origin: str  # cell, package, stdlib, file, library or interpreter


@lru_cache(maxsize=4096)
def place(path: str, native: bool) -> Place:
    """Split a file path into what people call it."""
    cell = _CELL.match(path)
    if cell:
        name = f"In [{cell[1]}]" if cell[1] else path
        return Place(name, name, name, "cell")
    if path == "" or path.startswith("<"):
        frozen = re.match(r"^<frozen (.*)>$", path)
        module = frozen[1] if frozen else path
        return Place(path, module, module.split(".")[0], "interpreter")
    slashed = path.replace("\\", "/")
    origin = "library" if native else "file"
    if _PACKAGES.match(slashed):
        origin, file = "package", _PACKAGES.sub("", slashed)
    elif _STDLIB.match(slashed):
        origin, file = "stdlib", _STDLIB.sub("", slashed)
        file = file[len("lib-dynload/") :] if file.startswith("lib-dynload/") else file
    else:
        file = slashed[slashed.rfind("/") + 1 :]
    bare = _LIBRARY.sub("", file) if native else re.sub(r"\.pyc?$", "", file)
    module = re.sub(r"/__init__$", "", bare).replace("/", ".")
    top = bare[: bare.index("/")] if "/" in bare else bare
    return Place(file, module, re.sub(r"\.libs$", "", top), origin)


# --- names of machine code ------------------------------------------------------------------------

_OFFSET = re.compile(r"^(.+)\+(0x[\da-f]+)$", re.ASCII)

# What compilers append to a function that they took apart, and Rust to every one.
_APPENDED = re.compile(
    r"(?:\.(?:cold|part|constprop|isra|lto_priv|localalias|llvm|_omp_fn|warm)(?:\.\d+)*"
    r"| \[clone [^\]]*\]| \(\.[\w.]+\)|::h[\da-f]{16})+$",
    re.ASCII,
)
_DISAMBIGUATOR = re.compile(r"(?<=\w)\[[\da-f]{1,16}\](?=::|$)", re.ASCII)
_ABI = re.compile(r"\[abi:\w+\]", re.ASCII)
# Namespaces that a library's authors put in for its linker.
_INLINE_NAMESPACE = re.compile(r"\b(std)::(?:__cxx11|__1|__ndk1|_V2)::", re.ASCII)

_RUST_ESCAPES = {
    "$LT$": "<",
    "$GT$": ">",
    "$RF$": "&",
    "$BP$": "*",
    "$C$": ",",
    "$LP$": "(",
    "$RP$": ")",
    "$u20$": " ",
    "$u27$": "'",
    "$u5b$": "[",
    "$u5d$": "]",
    "$u7b$": "{",
    "$u7d$": "}",
    "..": "::",
}
_RUST_ESCAPE = re.compile(r"\$(?:LT|GT|RF|BP|C|LP|RP|u[\da-f]{2})\$|\.\.", re.ASCII)

_OPERATOR = re.compile(
    r"operator(?: ?(\(\)|\[\]|->\*?|<=>|<<=|>>=|<<|>>|&&|\|\||\+\+|--|[-+*/%^&|~!=<>]=?|,)"
    r"|( (?:new|delete)(?:\[\])?| co_await)|(\"\" ?\w+)|(?= ))",
    re.ASCII,
)
# After parameters: either a scope goes on, or nothing that counts follows.
_SCOPE_GOES_ON = re.compile(r"(?: const| volatile| ?&&?)*(?=::)")
_NOTHING_FOLLOWS = re.compile(r"(?: const| volatile| ?&&?| noexcept)*(?: requires .*)?$")
_PATH = re.compile(r"^[A-Za-z_]\w+(?:::|<|$)", re.ASCII)


def without_suffixes(name: str) -> str:
    """A function's name without what compilers append: ``.isra.0``, `` [clone .cold]``, a hash."""
    return _APPENDED.sub("", name) if "." in name or "::h" in name else name


@lru_cache(maxsize=16384)
def short_native(name: str) -> str:
    """A function of C, C++, Rust or Cython as people call it.

    C++ and Rust without return type, template arguments, parameters, hashes and disambiguators,
    Cython as ``module.function``. A name that does not read as one stays as it is.
    """
    offset = _OFFSET.match(name)
    if offset:
        return f"{_LIBRARY.sub('', offset[1][offset[1].rfind('/') + 1 :])}+{offset[2]}"
    plain = without_suffixes(name)
    if re.search(r"[<(\[$]", plain):
        plain = _Signature(_unescaped(plain)).read() or plain
    return _cython(plain) or plain


def _unescaped(name: str) -> str:
    """Rust's older names as they were written, any name without disambiguators."""
    if "$" in name and _RUST_ESCAPE.search(name):
        name = _RUST_ESCAPE.sub(lambda found: _RUST_ESCAPES.get(found[0], found[0]), name)
        name = re.sub(r"(^|::)_<", r"\1<", name)
    if "[" in name:
        name = _ABI.sub("", name)
        name = _DISAMBIGUATOR.sub("", name)
    return _INLINE_NAMESPACE.sub(r"\1::", name)


class _Signature:
    """Reads one demangled name from left to right, once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.word = ""  # what of the name was read since the last space

    def read(self) -> str:
        """The name that is declared; empty where this is no declaration."""
        text = self.text
        wrapped = False
        before = ""
        while self.at < len(text):
            letter = text[self.at]
            rest = text.startswith
            if rest("operator", self.at) and not re.search(r"[\w$]$", self.word, re.ASCII):
                if not self._operator():
                    return ""
            elif rest("(anonymous namespace)", self.at):
                self.word += "(anonymous)"
                self.at += len("(anonymous namespace)")
            elif letter == "{":
                end = self._closing("{", "}")
                if end < 0:
                    return ""
                inner = text[self.at : end]
                self.word += re.sub(r"^\{lambda\(.*\)(#\d+)?\}$", r"{lambda\1}", inner)
                self.at = end
            elif letter == "<":
                if self.word == "" and before == "":
                    if not self._qualified():
                        return ""
                    continue
                end = self._after_arguments()
                if end < 0:
                    return ""
                # Rust's turbofish: `collect::<Vec<u8>>`.
                self.word = self.word[:-2] if self.word.endswith("::") else self.word
                self.at = end
            elif letter == "(":
                if self.word == "" and before == "decltype":
                    end = self._closing("(", ")")
                    if end < 0:
                        return ""
                    self.at = end
                elif self.word == "" and rest(("(*", "(&"), self.at) and before:
                    wrapped = True  # a function that returns one
                    self.at += 2
                elif self.word == "decltype":
                    end = self._closing("(", ")")
                    if end < 0:
                        return ""
                    self.at, before, self.word = end, "decltype", ""
                else:
                    goes_on = self._parameters(wrapped)
                    if goes_on is not None:
                        return self._checked() if not goes_on else ""
            elif letter == " ":
                if self.word:
                    before, self.word = self.word, ""
                self.at += 1
            elif letter in ">)[]},;=":
                return ""
            else:
                if letter not in "*&" or self.word:
                    self.word += letter
                self.at += 1
        return self._checked()

    def _checked(self) -> str:
        word = re.sub(r"^[*&]+", "", self.word)
        word = re.sub(r"(\{lambda(?:#\d+)?\}|'lambda\d*')::(?:operator\(\)|_FUN)$", r"\1", word)
        word = re.sub(r"::__pymethod_(\w+)__$", r"::\1", word)
        return "" if word == "" or word.startswith("::") or word.endswith("::") else word

    def _parameters(self, wrapped: bool) -> bool | None:
        """Skip them. None: the name goes on behind them; True: what follows is not understood."""
        end = self._closing("(", ")")
        if self.word == "" or end < 0:
            return True
        scope = _SCOPE_GOES_ON.match(self.text, end)
        if scope:
            self.at = scope.end()
            return None
        follows = _NOTHING_FOLLOWS.match(self.text, end)
        return not (follows or wrapped)

    def _operator(self) -> bool:
        found = _OPERATOR.match(self.text, self.at)
        if not found:
            # An identifier that begins so: `operators`.
            self.word += "operator"
            self.at += len("operator")
            return True
        self.at = found.end()
        if found[1] or found[2] or found[3]:
            self.word += "operator" + (found[1] or found[2] or found[3])
            if self.text.startswith(" <", self.at):
                self.at += 1
            return True
        # A conversion: what stands before its parameters is a type.
        start = self.at + 1
        while self.at < len(self.text) and self.text[self.at] != "(":
            if self.text[self.at] == "<":
                self.at = self._after_arguments()
                if self.at < 0:
                    return False
            else:
                self.at += 1
        kind = self.text[start : self.at]
        self.word += f"operator {_Signature(kind).read() or kind}"
        return True

    def _qualified(self) -> bool:
        """Rust's ``<Type>::`` and ``<Type as Trait>::``; the trait where the type has no name."""
        end = self._after_arguments()
        if end < 0:
            return False
        inner = self.text[self.at + 1 : end - 1]
        self.at = end
        if inner.startswith("lambda("):
            self.word = "{lambda}"
            return True
        kind, trait = inner, ""
        depth = 0
        for at, letter in enumerate(inner):
            if letter in "<([":
                depth += 1
            elif letter in ">)]" and inner[at - 1 : at + 1] != "->":
                depth -= 1
            elif depth == 0 and inner.startswith(" as ", at):
                kind, trait = inner[:at], inner[at + 4 :]
                break
        chosen = trait if trait and not _PATH.match(kind) else kind
        self.word = _Signature(chosen).read() if _PATH.match(chosen) else chosen
        return self.word != ""

    def _closing(self, opens: str, closes: str) -> int:
        """Where the text goes on behind what is opened here; -1: it is never closed."""
        depth = 0
        for at in range(self.at, len(self.text)):
            letter = self.text[at]
            if letter == opens:
                depth += 1
            elif letter == closes:
                depth -= 1
                if depth == 0:
                    return at + 1
        return -1

    def _after_arguments(self) -> int:
        """Where the text goes on behind the template arguments here; -1: they never end.

        Comparisons among them stand in parentheses, in which only parentheses count.
        """
        depth, round_, at = 0, 0, self.at
        text = self.text
        while at < len(text):
            letter = text[at]
            if letter == "(":
                round_ += 1
            elif letter == ")":
                round_ -= 1
            elif round_ > 0:
                pass
            elif letter == "<":
                depth += 1
            elif letter == ">" and text[at - 1] != "-":
                depth -= 1
                if depth == 0:
                    return at + 1
            elif letter == "o" and text.startswith("operator", at):
                found = _OPERATOR.match(text, at)
                if found and found[1] and not re.match(r"[\w$]", text[at - 1], re.ASCII):
                    at = found.end()
                    continue
            at += 1
        return -1


# `__pyx_pw_6sklearn_4tree_5_tree_4Tree_7fit`: how it is called, the way there, and a number that
# keeps apart what has one name.
_CYTHON = re.compile(
    r"^(?:__pyx_specialmethod_)?_*(?:pyx_fuse_[\d_]+?__)?(?:_*pyx_)?"
    r"(pw|pf|f|ff|gb|getprop|setprop)_(\d.*)$",
    re.ASCII,
)
_FUSED = re.compile(r"__pyx_fuse_\d+(?:_\d+)*_?", re.ASCII)
# Where a function calls another of its own name, the one that comes later is called.
_CYTHON_RANKS = {"pw": 1, "pf": 2, "f": 3, "ff": 3, "gb": 3, "getprop": 2, "setprop": 2}


def _cython_parts(name: str) -> tuple[str, str] | None:
    """What kind of function Cython made this, and the dotted name it was made of."""
    if "__pyx_" not in name:
        return None
    found = _CYTHON.match(name)
    if not found:
        return None
    kind, rest = found[1], found[2]
    parts: list[str] = []
    while True:
        step = re.match(r"(\d+)", rest)
        if not step:
            break
        length, start = int(step[1]), step.end()
        part, after = rest[start : start + length], rest[start + length :]
        if len(part) < length or not after.startswith("_") or len(after) < 2 or part[0].isdigit():
            break
        if kind == "pw" and not re.match(r"_\d", after):
            break  # what looks like a length is the number of a wrapper: `3fit_transform`
        parts.append(part)
        rest = after[1:]
    last = _FUSED.sub("", re.sub(r"^\d+", "", rest))
    return (kind, ".".join([*parts, last])) if parts and last else None


def _cython(name: str) -> str:
    if re.match(r"__pyx_pymod_exec_\w+$", name, re.ASCII):
        return "<module>"  # the code of the module itself, as Python calls it
    parts = _cython_parts(name)
    return parts[1] if parts else ""


def cython_rank(name: str) -> int:
    """0 for what Cython did not make; a function calls the one of its own name and higher rank."""
    if "__pyx_" not in name:
        return 0
    plain = without_suffixes(name)
    plain = plain[: plain.index("(")] if "(" in plain else plain
    parts = _cython_parts(plain)
    return _CYTHON_RANKS[parts[0]] if parts else 0


# --- functions ------------------------------------------------------------------------------------


def short(name: str, native: bool) -> str:
    """A function as lists and trees call it, where its file stands beside it."""
    return short_native(name) if native else name


def title(name: str, path: str, native: bool) -> str:
    """What stands on a frame: a cell's own code is called by its cell."""
    where = place(path, native)
    if where.origin == "cell" and (
        name in ("<module>", "<cell>") or name.startswith("<cell line:")
    ):
        return where.file
    if name == "":
        return "(unnamed)"
    return short(name, native)


def module(name: str, path: str, native: bool) -> str:
    """What stands behind it; empty where it would only say the same again."""
    where = place(path, native).module
    called = title(name, path, native)
    said = where == called or called.startswith(f"{where}.") or called == f"import {where}"
    return "" if said else where


_INTERPRETER = re.compile(r"(?:.*[\\/])?(?:python|pypy)[\w.]*(?:\.exe)?")


def process_name(name: str, command: str) -> str:
    """What people call a process: by its role, or by the program that it runs.

    Parameters
    ----------
    name : str
        What `multiprocessing` calls it, "" where it calls it nothing.
    command : str
        Its command line.
    """
    if name and name != "MainProcess":
        return name
    program, *arguments = command.split(" ")
    if not program or not _INTERPRETER.fullmatch(program):
        return _base_name(program) or "process"
    rest = iter(arguments)
    for argument in rest:
        if argument == "-c":
            return _role(" ".join(rest))
        if argument == "-m":
            return next(rest, "python")
        if argument in ("-W", "-X"):
            next(rest, None)
        elif not argument.startswith("-"):
            return _base_name(argument)
    return "python"


def _role(code: str) -> str:
    """Code of a helper that `multiprocessing` starts is known by its module."""
    found = re.match(r"from multiprocessing\.(\w+) import main", code)
    return found[1].replace("_", " ") if found else "python -c"


def _base_name(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]
