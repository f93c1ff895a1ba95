"""Reads the statistics of cProfile, which hold no stacks but who called whom, and for how long.

Must not know any other format. A file is read by hand: unmarshalling one that was made to harm can
end the interpreter.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from .._profile.tables import NATIVE, ROOT, Builder, FrameIndex, StackIndex, Tables
from ._errors import FormatError
from ._meta import read_meta

NOTE = (
    "read from cProfile's statistics, which hold no stacks: each function has the time of its own "
    "that was measured, and that of its callers is split by what each had of it"
)

# File, first line, name.
Key = tuple[str, int, str]

# What a path must have of all time to be followed further, how deep it may get, and how many may.
_LEAST, _DEEPEST, _MOST = 1e-4, 200, 100_000
_NESTED = 8


class Call(NamedTuple):
    """Seconds of a function that is called by another one: its own, and with what it calls."""

    own: float
    whole: float


class Function(NamedTuple):
    """Seconds of a function, and of those of its calls that each caller made."""

    own: float
    whole: float
    callers: dict[Key, Call]


def load(data: bytes, *, interval_ms: float | None = None) -> Tables:
    """Read what ``cProfile.Profile.dump_stats`` and ``python -m cProfile -o`` write.

    Raises
    ------
    FormatError
    """
    functions = _functions(_Unmarshaller(data).document())
    builder = Builder()
    thread = builder.thread(0, "main")
    frames: dict[Key, FrameIndex] = {}
    for file, line, name in functions:
        native = file in ("~", "")
        func = builder.func(name, "" if native else file, 0 if native else line, NATIVE * native)
        frames[file, line, name] = builder.frame(func)
    stacks: dict[tuple[StackIndex, Key], StackIndex] = {}
    total = 0
    for path, seconds in paths_of(functions):
        stack = ROOT
        for key in path:
            known = stacks.get((stack, key))
            if known is None:
                known = stacks[stack, key] = builder.stack(stack, frames[key])
            stack = known
        ns = round(seconds * 1e9)
        if ns > 0:
            total += ns
            builder.row(thread, stack, time=total, last=total, weight=ns)
    if total >= 2**63:
        raise FormatError("more than 292 years")
    builder.tables.meta = read_meta(
        duration_ns=total, interval_ns=0, weights="measured", notes=(NOTE,)
    )
    return builder.tables


def paths_of(functions: dict[Key, Function]) -> Iterator[tuple[tuple[Key, ...], float]]:
    """Yield likely stacks, from the outermost function, with the time of the innermost one's own.

    The time that a function has from one caller goes on to what it calls in proportion: that is all
    that the statistics tell. Of each function all time of its own is in some stack, and no more;
    what is too little to follow, or recurses, stands for itself.
    """
    callees: dict[Key, list[tuple[Key, Call]]] = {}
    for key, function in functions.items():
        for caller, call in function.callers.items():
            callees.setdefault(caller, []).append((key, call))
    left = {key: function.own for key, function in functions.items()}
    least = _LEAST * sum(left.values())
    # Paths to follow: the function's own time there, and its part of all of the function's time.
    todo: list[tuple[tuple[Key, ...], float, float]] = []
    for key, function in functions.items():
        own = function.own - sum(call.own for call in function.callers.values())
        # What recursion takes is in the outermost call's time already.
        callers = function.callers.items()
        whole = function.whole - sum(call.whole for caller, call in callers if caller != key)
        if not function.callers or own > least or whole > least:
            own, whole = (own, whole) if function.callers else (function.own, function.whole)
            todo.append(((key,), max(own, 0.0), _part(whole, function.whole)))
    most = _MOST + len(functions)
    while todo and most > 0:
        most -= 1
        path, own, part = todo.pop()
        key = path[-1]
        own = min(own, left[key])
        left[key] -= own
        if own > 0:
            yield path, own
        if key in path[:-1] or len(path) >= _DEEPEST or part * functions[key].whole < least:
            continue
        for callee, call in callees.get(key, ()):
            whole = call.whole * part
            todo.append(((*path, callee), call.own * part, _part(whole, functions[callee].whole)))
    for key, own in left.items():
        if own > 0:
            yield (key,), own


def _part(some: float, whole: float) -> float:
    return min(max(some / whole, 0.0), 1.0) if whole > 0 else 0.0


def _functions(document: Any) -> dict[Key, Function]:
    """Verify that a document is what cProfile writes."""
    if not isinstance(document, dict):
        raise FormatError("not the statistics of cProfile: no table of functions")
    functions = {}
    for key, value in document.items():
        _check_key(key)
        if not isinstance(value, tuple) or len(value) != 5 or not isinstance(value[4], dict):
            raise FormatError(f"{key[2]!r:.80}: should have four numbers and its callers")
        callers = {}
        for caller, call in value[4].items():
            _check_key(caller)
            if caller not in document:
                raise FormatError(f"{key[2]!r:.80}: its caller {caller[2]!r:.80} is not there")
            if not isinstance(call, tuple) or len(call) != 4:
                raise FormatError(f"{key[2]!r:.80}: each caller should have four numbers")
            callers[caller] = Call(_seconds(call[2], key), _seconds(call[3], key))
        functions[key] = Function(_seconds(value[2], key), _seconds(value[3], key), callers)
    return functions


def _check_key(key: Any) -> None:
    kinds = (str, int, str)
    if (
        not isinstance(key, tuple)
        or len(key) != 3
        or not all(type(part) is kind for part, kind in zip(key, kinds))
        or not 0 <= key[1] < 2**31
    ):
        raise FormatError(f"{key!r:.80} should be a file, a line and the name of a function")


def _seconds(value: Any, key: Key) -> float:
    # Clocks that step back leave less than nothing.
    if type(value) not in (int, float) or not -1e9 < value < 1e9:
        raise FormatError(f"{key[2]!r:.80}: {value!r:.40} is no number of seconds")
    return max(float(value), 0.0)


class _Unmarshaller:
    """The kinds of values that statistics consist of, of every version of the format."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._references: list[Any] = []

    def document(self) -> Any:
        return self._value(0)

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if size < 0 or len(taken) < size:
            raise FormatError(f"byte {self._at}: the statistics of cProfile end early")
        self._at += size
        return taken

    def _number(self) -> int:
        return int.from_bytes(self._take(4), "little", signed=True)

    def _value(self, depth: int) -> Any:
        at = self._at
        code = self._take(1)[0]
        kind, flagged = chr(code & 0x7F), code & 0x80
        if depth > _NESTED:
            raise FormatError(f"byte {at}: too deep for the statistics of cProfile")
        if kind in "({)":
            # Counted before what is in it.
            place = len(self._references)
            if flagged:
                self._references.append(None)
            value: Any = self._dict(depth) if kind == "{" else self._tuple(kind, depth)
            # Nobody writes one table in two places: reading it each time could take for ever.
            if flagged and kind != "{":
                self._references[place] = value
            return value
        if kind == "r":
            number = self._number()
            if not 0 <= number < len(self._references) or self._references[number] is None:
                raise FormatError(f"byte {at}: refers to what is not there")
            return self._references[number]
        value = self._simple(kind, at)
        if flagged:
            self._references.append(value)
        return value

    def _simple(self, kind: str, at: int) -> Any:
        if kind == "i":
            return self._number()
        if kind == "l":
            return self._long()
        if kind == "g":
            return struct.unpack("<d", self._take(8))[0]
        if kind in "utaAzZ":
            size = self._take(1)[0] if kind in "zZ" else self._number()
            return self._text(self._take(size), at)
        raise FormatError(f"byte {at}: {kind!r} is in no statistics of cProfile")

    def _long(self) -> int:
        """Digits of 15 bits, their number negative where the whole is."""
        size = self._number()
        if not -9 < size < 9:
            raise FormatError(f"byte {self._at}: a number of {abs(size)} digits")
        digits = struct.unpack(f"<{abs(size)}H", self._take(2 * abs(size)))
        value: int = sum(digit << (15 * place) for place, digit in enumerate(digits))
        return -value if size < 0 else value

    def _text(self, data: bytes, at: int) -> str:
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise FormatError(f"byte {at}: no text: {error.reason}") from None

    def _tuple(self, kind: str, depth: int) -> tuple[Any, ...]:
        size = self._number() if kind == "(" else self._take(1)[0]
        if not 0 <= size <= 5:
            raise FormatError(f"byte {self._at}: {size} values are in no statistics of cProfile")
        return tuple(self._value(depth + 1) for _ in range(size))

    def _dict(self, depth: int) -> dict[Any, Any]:
        found = {}
        while self._data[self._at : self._at + 1] != b"0":
            key = self._value(depth + 1)
            try:
                found[key] = self._value(depth + 1)
            except TypeError:
                raise FormatError(f"byte {self._at}: a table as the name of something") from None
        self._at += 1
        return found
