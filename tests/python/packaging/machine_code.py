"""What compiled functions call, read from object files with `objdump`. Knows nothing of spprof.

Objects must hold line tables (`-g1`): a call through a pointer is known by its line of source.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Call:
    """One place where a function calls, or jumps to, another one."""

    target: (
        str | None
    )  # a key of `Program.functions`, or the name of what is outside; None: pointer
    file: str
    line: int

    @property
    def source(self) -> str:
        """The line of source text, "" where there is none."""
        try:
            lines = Path(self.file).read_text(encoding="utf-8").splitlines()
        except OSError:
            return ""
        return lines[self.line - 1].strip() if 0 < self.line <= len(lines) else ""

    @property
    def place(self) -> str:
        return f"{Path(self.file).name}:{self.line}"


@dataclass
class Function:
    name: str  # as in C++
    calls: list[Call] = field(default_factory=list)
    files: set[str] = field(default_factory=set)  # whose lines are in it


@dataclass(frozen=True)
class Machine:
    """How a processor calls. `direct` and `indirect` have the operand as their last group."""

    direct: re.Pattern[str]
    indirect: re.Pattern[str]
    # The last instruction before an indirect jump that writes its register, where the jump is one
    # of a `switch`: an address computed from a table is added to that of the table. Pointers to
    # functions are loaded, never computed.
    switch: str
    # What a relocation of a call adds beside the symbol.
    bias: int


MACHINES = {
    "x86_64": Machine(
        direct=re.compile(
            r"^(?:(?:bnd|notrack|data16|rex\.W)\s+)*(?:call|j[a-z]+)q?\s+([^*\s]\S*)"
        ),
        indirect=re.compile(r"^(?:(?:bnd|notrack|data16|rex\.W)\s+)*(call|jmp)q?\s+\*(\S+)"),
        switch=r"add\s+\S+,{}$",
        bias=4,
    ),
    "aarch64": Machine(
        direct=re.compile(r"^(?:bl?|b\.\w+|cbn?z|tbn?z)\s+(?:\S+,\s*)*([0-9a-f]+)\b"),
        indirect=re.compile(r"^(blr|br)\s+(x\d+)"),
        switch=r"add\s+{},.*$",
        bias=0,
    ),
}

SECTION = re.compile(r"^Disassembly of section (.+):$")
HEAD = re.compile(r"^([0-9a-f]+) <(.+)>:$")
LINE = re.compile(r"^(/\S.*):(\d+)(?: \(discriminator \d+\))?$")
INSTRUCTION = re.compile(r"^\s+([0-9a-f]+):\t(.+?)\s*(?:#.*)?$")
RELOCATION = re.compile(r"^\t+\s*[0-9a-f]+: (R_\S+)\t(.+?)(?:([+-])0x([0-9a-f]+))?$")
SYMBOL = re.compile(r"^([0-9a-f]+) (.{7}) (\S+)\t[0-9a-f]+ (?:\.hidden |\.protected )?(.+)$")


def _run(*command: object) -> str:
    return subprocess.run(
        list(map(str, command)), check=True, capture_output=True, text=True
    ).stdout


@dataclass
class _Object:
    """One object file: where its functions begin."""

    path: Path
    # By section: (address, name) of each function, ascending.
    starts: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    places: dict[str, tuple[str, int]] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)  # seen by other objects

    def __post_init__(self) -> None:
        for text in _run("objdump", "-t", self.path).splitlines():
            match = SYMBOL.match(text)
            if match is None or match[3] in ("*UND*", "*ABS*", "*COM*"):
                continue
            address, flags, section, name = int(match[1], 16), match[2], match[3], match[4]
            if flags[0] != "l":
                self.shared.add(name)
            if "F" in flags:
                self.places[name] = (section, address)
                self.starts.setdefault(section, []).append((address, name))
        for functions in self.starts.values():
            functions.sort()

    def at(self, section: str, address: int) -> str | None:
        """The function that holds this address: the first of its names."""
        found = None
        for start, name in self.starts.get(section, ()):
            if start > address:
                break
            if found is None or start != found[0]:
                found = (start, name)
        return None if found is None else found[1]

    def named(self, name: str) -> str | None:
        place = self.places.get(name)
        return None if place is None else self.at(*place)


class Program:
    """The functions of some object files, and what they call."""

    def __init__(self, objects: Iterable[Path], machine: str) -> None:
        self.functions: dict[str, Function] = {}
        self._machine = MACHINES[machine]
        self._outside: dict[str, str] = {}  # names that other objects see -> key
        self._objects = [_Object(path) for path in objects]
        for obj in self._objects:
            for name in obj.shared:
                own = obj.named(name)
                if own is not None:
                    self._outside.setdefault(name, self._key(obj, own))
        raw = {name for obj in self._objects for name in obj.places}
        self._plain = dict(zip(sorted(raw), _demangle(sorted(raw))))
        for obj in self._objects:
            self._read(obj)

    def named(self, pattern: str) -> list[str]:
        """Keys of the functions whose whole name, as in C++, fits the pattern."""
        wanted = re.compile(pattern)
        return [key for key, function in self.functions.items() if wanted.fullmatch(function.name)]

    @staticmethod
    def _key(obj: _Object, name: str) -> str:
        return name if name in obj.shared else f"{obj.path.name}:{name}"

    def _target(self, obj: _Object, symbol: str, addend: int) -> str:
        if symbol in obj.starts:  # a section: the function at that place of it
            inside = obj.at(symbol, addend + self._machine.bias)
            return symbol if inside is None else self._key(obj, inside)
        own = obj.named(symbol)
        if own is not None:
            return self._key(obj, own)
        return self._outside.get(symbol, symbol)

    def _read(self, obj: _Object) -> None:
        section, here, key = "", None, ""
        function = Function("")
        before: list[str] = []
        file, line = "", 0
        # An instruction waits for its relocation, which follows.
        waiting: tuple[str, int | None] | None = None

        def settle(relocation: tuple[str, str, int] | None) -> None:
            nonlocal waiting
            if waiting is None:
                return
            kind, address = waiting
            waiting = None
            if relocation is not None and (kind == "direct" or "GOT" in relocation[0]):
                target: str | None = self._target(obj, relocation[1], relocation[2])
            elif kind == "direct":
                inside = None if address is None else obj.at(section, address)
                target = None if inside is None else self._key(obj, inside)
            else:
                target = None
            if target != key:
                function.calls.append(Call(target, file, line))

        text = _run("objdump", "-d", "-r", "-l", "--no-show-raw-insn", obj.path)
        for row in text.splitlines():
            if match := RELOCATION.match(row):
                addend = int(match[4] or "0", 16) * (-1 if match[3] == "-" else 1)
                settle((match[1], match[2], addend))
            elif match := INSTRUCTION.match(row):
                settle(None)
                name = obj.at(section, int(match[1], 16))
                if name != here and name is not None:
                    here, key, before = name, self._key(obj, name), []
                    # Templates are compiled into several objects: they are all the same.
                    known = self.functions.get(key)
                    function = Function(self._plain[name])
                    if known is None:
                        self.functions[key] = function
                waiting = self._classify(match[2], before)
                before.append(match[2])
                if file:
                    function.files.add(file)
            elif match := LINE.match(row):
                settle(None)
                file, line = match[1], int(match[2])
            elif match := SECTION.match(row):
                settle(None)
                section, here, file, line = match[1], None, "", 0
            elif match := HEAD.match(row):
                settle(None)
        settle(None)

    def _classify(self, instruction: str, before: list[str]) -> tuple[str, int | None] | None:
        if match := self._machine.indirect.match(instruction):
            if match[1] in ("jmp", "br") and self._is_switch(match[2], before):
                return None
            return "indirect", None
        if match := self._machine.direct.match(instruction):
            operand = match[1]
            try:
                return "direct", int(operand, 16)
            except ValueError:
                return "direct", None
        return None

    def _is_switch(self, register: str, before: list[str]) -> bool:
        pattern = self._machine.switch.format(re.escape(register))
        for instruction in reversed(before[-12:]):
            operands = instruction.split(None, 1)[-1].split(",")
            written = operands[0] if self._machine.bias == 0 else operands[-1]
            if written.strip() == register:
                return re.match(pattern, instruction) is not None
        return False


def _demangle(names: list[str]) -> Iterator[str]:
    done = subprocess.run(
        ["c++filt"], input="\n".join(names), check=True, capture_output=True, text=True
    )
    return iter(done.stdout.splitlines())
