"""Collapsed ("folded") stacks: one ``root;caller;leaf 12`` a line, the number counting samples.

Must not know any other format. What flamegraph.pl, Speedscope and inferno read is the lowest
common ground: the number is what follows the last space, frames are divided by ``;``, and
flamegraph.pl takes a second number before it for a differential profile. Therefore:

- ``;`` in a name is written ``%3B``, line ends ``%0A`` and ``%0D``, a space at either end of a
  frame ``%20``, and so are spaces inside of it where they would be misread; a ``%`` that would
  be taken for such an escape is written ``%25``.
- A frame reads ``function (file:line)``, a native one ``function (module)``, as py-spy writes
  them; without a file just ``function``; native without a module ``function ([unknown])``.
- Where there is more than one thread, each stack begins with ``thread (id): name``; where there
  is more than one process, ``process pid on host`` comes before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from .._profile.rows import sum_by_thread_and_stack
from .._profile.tables import NATIVE, Builder, FrameIndex, Tables, ThreadIndex
from . import _labels as labels
from ._errors import FormatError
from ._meta import read_meta
from ._stacks import check_depth, texts_of

if TYPE_CHECKING:
    from .._profile.compare import Difference

_UNKNOWN_MODULE = "[unknown]"

_CODES = "00|0A|0D|20|25|3A|3B"
_ESCAPED = re.compile(rf"%(?={_CODES})|[;\n\r\0]|^ | $")
_ESCAPED_IN_PLACE = re.compile(rf"%(?={_CODES})|[;\n\r\0]|^ | $| (?=\()|:(?=\d+$)")
_ESCAPE = re.compile(f"%({_CODES})")
_NUMBER_AT_END = re.compile(r" \d+(?:\.\d*)?$", re.ASCII)
_THREAD = re.compile(
    r"thread \((?P<tid>-?[0-9]{1,19}|0[xX][0-9a-fA-F]{1,16})\)(?:: (?P<name>.*))?", re.DOTALL
)
_PROCESS = re.compile(r"process (?P<pid>[0-9]{1,19})(?: on (?P<host>.*))?", re.DOTALL)


def _split_frame(text: str) -> tuple[str, str, int | None] | None:
    """Name, place and line of ``name (place:line)``; None where it is something else.

    No regular expression: those that say it try every parenthesis anew.
    """
    begin = text.rfind(" (", 0, len(text) - 1)
    if begin < 0 or not text.endswith(")"):
        return None
    name, place = text[:begin], text[begin + 2 : -1]
    before, colon, line = place.rpartition(":")
    if not colon or not (line.isascii() and line.isdecimal()):
        return name, place, None
    return name, before, int(line) if len(line) <= 10 and int(line) < 2**31 else 0


def _escape(text: str, pattern: re.Pattern[str] = _ESCAPED) -> str:
    return pattern.sub(lambda match: f"%{ord(match[0]):02X}", text)


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)


def frame_text(name: str, file: str, line: int, native: bool) -> str:
    """One frame as it stands in a line, escaped."""
    if native or file or line:
        place = _escape(file or (_UNKNOWN_MODULE if native else ""), _ESCAPED_IN_PLACE)
        return f"{_escape(name)} ({place})" if native else f"{_escape(name)} ({place}:{line})"
    text = _escape(name)
    if (
        _split_frame(text) is not None
        or any(pattern.fullmatch(text) for pattern in (_THREAD, _PROCESS))
        or _NUMBER_AT_END.search(text)
    ):
        text = text.replace(" ", "%20")
    return text or "%00"


def _frame_texts(tables: Tables, lines: bool) -> list[str]:
    of_frame = []
    for row, func in enumerate(tables.frame_func):
        frame = FrameIndex(row)
        of_frame.append(
            frame_text(
                tables.strings[tables.func_name[func]],
                tables.strings[tables.func_file[func]],
                labels.shown_line(tables, frame, lines),
                labels.is_native(tables, frame),
            )
        )
    return of_frame


def _thread_texts(tables: Tables) -> list[str]:
    used = set(tables.sample_thread)
    if len(used) <= 1:
        return [""] * len(tables.threads)
    several = len(labels.processes(tables)) > 1
    texts = []
    for thread in tables.threads:
        text = f"thread ({thread['tid']}): {_escape(thread['name'])};"
        texts.append(_escape(labels.process_label(thread)) + ";" + text if several else text)
    return texts


def lines_of(tables: Tables, lines: bool) -> Iterator[str]:
    """Yield each distinct line with its line end, threads and stacks in order."""
    frames = _frame_texts(tables, lines)
    stacks = texts_of(tables, tables.sample_stack, frames, ";", inner_first=False)
    threads = _thread_texts(tables)
    counts: dict[tuple[int, str], int] = {}
    for thread, stack, count, _ in sum_by_thread_and_stack(tables):
        key = (thread, stacks[stack])
        counts[key] = counts.get(key, 0) + count
    for (row, stack_text), count in counts.items():
        line = f"{threads[row]}{stack_text} {count}\n"
        # A line that begins with # is a comment: one space more says that this is none.
        yield " " + line if line.lstrip(" ").startswith("#") else line


def content(tables: Tables, *, lines: bool = False) -> str:
    """Return the whole text; see `Profile.to_collapsed`."""
    return "".join(lines_of(tables, lines))


def dump(tables: Tables, file: BinaryIO, *, lines: bool = False) -> None:
    """Write the text as UTF-8; undecodable bytes of file names come out as they were."""
    for line in lines_of(tables, lines):
        try:
            file.write(line.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:  # half a character that no file name can have
            file.write(line.encode("utf-8", "backslashreplace"))


def dump_diff(difference: Difference, file: BinaryIO) -> None:
    """Write ``stack before after`` lines in microseconds, as difffolded.pl does.

    flamegraph.pl draws the differential flame graph from them.
    """
    for entry in difference.stacks:
        frames = [
            frame_text(name, "", 0, False) if not place else f"{_escape(name)} ({_escape(place)})"
            for name, place in zip(reversed(entry.functions), reversed(entry.filenames))
        ]
        before, after = round(entry.before_ns / 1e3), round(entry.after_ns / 1e3)
        line = f"{';'.join(frames)} {before} {after}\n"
        file.write(line.encode("utf-8", "surrogateescape"))


_DEFAULT_INTERVAL_MS = 1.0
_LONGEST_COUNT = 15  # digits; other tools count nanoseconds


def load(data: bytes, *, interval_ms: float | None = None) -> Tables:
    """Read collapsed stacks of this or any other tool.

    Parameters
    ----------
    data : bytes
    interval_ms : float, optional
        What one sample stands for; 1 ms without it, and the profile's notes say so.

    Raises
    ------
    FormatError
    """
    builder = Builder()
    interval_ns = round((_DEFAULT_INTERVAL_MS if interval_ms is None else interval_ms) * 1e6)
    frames: dict[str, FrameIndex] = {}
    total = read = pairs = 0
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = raw.decode("utf-8", "surrogateescape").rstrip("\r")
        if number == 1:
            line = line.removeprefix("\ufeff")
        if not line or line.startswith("#"):
            continue
        if line.lstrip(" ").startswith("#"):
            line = line[1:]  # see lines_of()
        stack_text, _, count_text = line.rpartition(" ")
        if not stack_text or not re.fullmatch(r"\d+(?:\.\d*)?", count_text, re.ASCII):
            raise FormatError(
                f"line {number}: should be frames, a space and a number: {line!r:.80}"
            )
        pairs += _NUMBER_AT_END.search(stack_text) is not None
        read += 1
        if len(count_text.partition(".")[0].lstrip("0")) > _LONGEST_COUNT:
            raise FormatError(f"line {number}: {count_text:.20} samples are more than can be kept")
        count = round(float(count_text)) if "." in count_text else int(count_text)
        if count < 1:
            continue
        check_depth(stack_text.count(";"), f"line {number}")
        thread, texts = _thread_of(builder, stack_text.split(";"))
        ids = []
        for text in texts:
            frame = frames.get(text)
            if frame is None:
                frame = frames[text] = _frame(builder, text)
            ids.append(frame)
        total += count
        if total * interval_ns >= 2**63:
            raise FormatError(f"line {number}: more than 292 years")
        builder.row(thread, builder.stack_of(ids), count=count, weight=count * interval_ns)
    if read and pairs == read:
        raise FormatError(
            "two numbers a line: a difference, as difffolded.pl and `spprof diff` write it; load "
            "both profiles by themselves and compare them with `spprof diff`"
        )
    notes = []
    if interval_ms is None:
        notes.append("the file counts samples without their interval: 1 ms each is assumed")
    builder.tables.meta = read_meta(
        duration_ns=total * interval_ns,
        interval_ns=interval_ns,
        weights="samples",
        notes=tuple(notes),
    )
    return builder.tables


def _thread_of(builder: Builder, texts: list[str]) -> tuple[ThreadIndex, list[str]]:
    pid, host, start = 0, "", 0
    process = _PROCESS.fullmatch(texts[0])
    if process is not None and len(texts) > 1:
        pid, host, start = int(process["pid"]), _unescape(process["host"] or ""), 1
    match = _THREAD.fullmatch(texts[start])
    if match is None:
        return builder.thread(0, "main"), texts
    name = f"thread {match['tid']}" if match["name"] is None else _unescape(match["name"])
    return builder.thread(int(match["tid"], 0), name, pid, host), texts[start + 1 :]


def _frame(builder: Builder, text: str) -> FrameIndex:
    parts = _split_frame(text)
    if parts is None:
        name = "" if text == "%00" else _unescape(text)
        return builder.frame(builder.func(name, ""))
    name, place = _unescape(parts[0]), _unescape(parts[1])
    line = parts[2] or 0
    native = labels.looks_native(place, parts[2] is not None)
    if native and place == _UNKNOWN_MODULE:
        place = ""
    return builder.frame(builder.func(name, place, 0, NATIVE if native else 0), line)
