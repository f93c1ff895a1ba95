"""Which formats there are, and saving and loading through them.

Must not know how any format looks inside, nor Profile.
"""

from __future__ import annotations

import gzip
import importlib
import io
import os
import re
import tempfile
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from ._errors import FormatError
from ._unpacking import gunzip
from .files import replacing

if TYPE_CHECKING:
    from .._profile.compare import Difference
    from .._profile.tables import Tables
    from .._profile.values import PathLike


class Writer(Protocol):
    """What each format's module has; `dump` may take keyword options of its own."""

    def dump(self, tables: Tables, file: BinaryIO, /) -> None:
        """Write a profile to a binary file."""


class Reader(Writer, Protocol):
    """What the module of a format that can be read back has as well."""

    def load(self, data: bytes, /, *, interval_ms: float | None = None) -> Tables:
        """Read a profile; `interval_ms` is what one sample stands for where files only count."""


@dataclass(frozen=True)
class Format:
    """One file format.

    Parameters
    ----------
    name : str
        What ``save(path, format=...)`` calls it.
    extensions : tuple of str
        File name endings that mean it, the usual one first.
    module : str
        Module in this package: a `Writer`, a `Reader` where `readable`.
    summary : str
        One line for people.
    readable : bool
        Whether `load` reads it back.
    differences : bool
        Whether it can show a `ProfileDiff`, or hold both of its profiles side by side.
    reads_empty : bool
        Whether a profile without samples is an empty file.
    text : bool
        Whether it is text, which ``.gz`` behind the ending compresses.
    """

    name: str
    extensions: tuple[str, ...]
    module: str
    summary: str
    readable: bool = False
    differences: bool = False
    reads_empty: bool = False
    text: bool = False

    def dump(
        self, tables: Tables, file: BinaryIO, *, compress: bool = False, **options: Any
    ) -> None:
        """Write a profile to a binary file in this format, gzipped if that is asked for."""
        with _packed(file) if compress else nullcontext(file) as out:
            self._module().dump(tables, out, **options)

    def dumps(self, tables: Tables, **options: Any) -> bytes:
        """Return what `dump` would write."""
        file = io.BytesIO()
        self.dump(tables, file, **options)
        return file.getvalue()

    def content(self, tables: Tables, **options: Any) -> Any:
        """Return what a text format holds as Python has it: a str, or a dict where it is JSON."""
        return self._module().content(tables, **options)

    def load(self, data: bytes, **options: Any) -> Tables:
        """Read a profile from the content of a file in this format."""
        tables: Tables = self._module().load(data, **options)
        return tables

    def dump_diff(
        self, difference: Difference, file: BinaryIO, *, compress: bool = False, **options: Any
    ) -> None:
        """Write a difference; formats that cannot show one write both profiles side by side."""
        own = getattr(self._module(), "dump_diff", None)
        if own is None:
            self.dump(difference.side_by_side(), file, compress=compress, **options)
            return
        with _packed(file) if compress else nullcontext(file) as out:
            own(difference, out, **options)

    def check_options(self, names: Iterable[str], *, of_difference: bool = False) -> None:
        """Refuse options that there are not.

        Raises
        ------
        TypeError
            The message lists those there are.
        """
        writer = getattr(self._module(), "dump_diff", None) if of_difference else None
        known = list((writer or self._module().dump).__kwdefaults__ or ())
        if self.text:
            known.append("compress")
        unknown = [name for name in names if name not in known]
        if unknown:
            there_are = f"it has {', '.join(known)}" if known else "it has none"
            raise TypeError(
                f"{self.name} has no option {', '.join(map(repr, unknown))}: {there_are}"
            )

    def prepare(self) -> None:
        """Import what writes it, and verify that it can be written, while there is time.

        Raises
        ------
        FileNotFoundError
            It takes the front end, which is not built.
        """
        check = getattr(self._module(), "check_ready", None)
        if check is not None:
            check()

    def _module(self) -> Any:
        # Imported when used: only what is written is paid for.
        return importlib.import_module("." + self.module, __package__)


FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        Format(
            "speedscope",
            (".speedscope.json", ".json"),
            "speedscope",
            "Speedscope JSON, for `spprof view` and https://www.speedscope.app",
            readable=True,
            text=True,
        ),
        Format(
            "collapsed",
            (".collapsed", ".folded", ".txt"),
            "collapsed",
            "collapsed stacks, for flamegraph.pl and everything that reads its input",
            readable=True,
            differences=True,
            reads_empty=True,
            text=True,
        ),
        Format(
            "pprof",
            (".pb.gz", ".pprof", ".pb"),
            "pprof",
            "gzipped profile.proto, for `go tool pprof` and what reads its files",
            readable=True,
        ),
        Format(
            "gecko",
            (".gecko.json",),
            "gecko",
            "Firefox Profiler JSON, for https://profiler.firefox.com",
            readable=True,
            text=True,
        ),
        Format(
            "cpuprofile",
            (".cpuprofile",),
            "cpuprofile",
            "V8's CPU profile, which VS Code opens beside the code",
            text=True,
        ),
        Format(
            "svg",
            (".svg",),
            "svg",
            "flame graph as a picture that any browser opens and searches",
            differences=True,
            text=True,
        ),
        Format(
            "html",
            (".html", ".htm"),
            "html",
            "self-contained page with every view, for any browser, no network needed",
            differences=True,
            text=True,
        ),
        Format(
            "spprof",
            (".spprof",),
            "container",
            "everything that was recorded, compact and checksummed",
            readable=True,
            differences=True,
        ),
    )
}


if TYPE_CHECKING:
    # Keeps every module to its protocol.
    from . import collapsed, container, cpuprofile, gecko, html, pprof, speedscope, svg

    _writers: tuple[Writer, ...] = (cpuprofile, html, svg)
    _readers: tuple[Reader, ...] = (collapsed, container, gecko, pprof, speedscope)


def _check_interval(interval_ms: object) -> None:
    if interval_ms is None:
        return
    if isinstance(interval_ms, bool) or not isinstance(interval_ms, (int, float)):
        raise TypeError(f"interval_ms must be a number of milliseconds, not {interval_ms!r}")
    if not 1e-6 <= interval_ms < 1e12:
        raise ValueError(f"interval_ms must be from 1e-06 to 1e+12, not {interval_ms!r}")


def find(name: str) -> Format:
    """Return the format called `name`.

    Raises
    ------
    ValueError
        There is none; the message lists those there are.
    """
    try:
        return FORMATS[name]
    except (KeyError, TypeError):
        known = ", ".join(FORMATS)
        raise ValueError(f"Unknown format {name!r}: use one of {known}") from None


def for_path(path: PathLike) -> Format:
    """Return the format that a file name's ending means; Speedscope where it has none.

    Raises
    ------
    ValueError
        No format has this ending; the message lists those there are.
    """
    found = _by_ending(path)
    if found is not None:
        return found
    name = Path(path).name
    if not Path(name[:-3] if _ends_in_gz(name) else name).suffix:
        return FORMATS["speedscope"]
    known = " ".join(ending for entry in FORMATS.values() for ending in entry.extensions)
    raise ValueError(
        f"Unknown format of {name!r}: no format has this ending. Use one of {known}, behind text "
        "also .gz, or say format=..."
    )


def _ends_in_gz(path: PathLike) -> bool:
    return Path(path).name.lower().endswith(".gz")


def _by_ending(path: PathLike) -> Format | None:
    name = Path(path).name.lower()
    matches = [
        (len(extension), entry)
        for entry in FORMATS.values()
        for extension in entry.extensions
        if name.endswith((extension, extension + ".gz") if entry.text else extension)
    ]
    return max(matches, key=lambda match: match[0])[1] if matches else None


def save(tables: Tables, path: PathLike, format: str | None = None, **options: Any) -> None:
    """Write a profile to `path`, whole or not at all; see `Profile.save`."""
    chosen = for_path(path) if format is None else find(format)
    chosen.check_options(options)
    with replacing(path) as file:
        chosen.dump(tables, file, **_for_ending(chosen, path, options))


def keep(tables: Tables, path: PathLike) -> str | None:
    """Save as `.spprof` beside `path`, which could not be written, or wherever there is room.

    Returns
    -------
    str or None
        Where it is; None where there was no room anywhere.
    """
    name = Path(path).name.removesuffix(".spprof") + ".spprof"
    for folder in (Path(path).parent, Path(), Path(tempfile.gettempdir())):
        try:
            save(tables, folder / name, "spprof")
        except OSError:
            continue
        return str(folder / name)
    return None


def save_diff(
    difference: Difference, path: PathLike, format: str | None = None, **options: Any
) -> None:
    """Write a difference to `path`, whole or not at all; see `ProfileDiff.save`."""
    chosen = for_path(path) if format is None else find(format)
    if not chosen.differences:
        known = ", ".join(entry.name for entry in FORMATS.values() if entry.differences)
        raise ValueError(f"Unknown format {chosen.name!r} for a difference: use one of {known}")
    chosen.check_options(options, of_difference=True)
    with replacing(path) as file:
        chosen.dump_diff(difference, file, **_for_ending(chosen, path, options))


def _for_ending(chosen: Format, path: PathLike, options: dict[str, Any]) -> dict[str, Any]:
    return {"compress": True, **options} if chosen.text and _ends_in_gz(path) else options


def _packed(file: BinaryIO) -> gzip.GzipFile:
    # mtime 0 and no name: the same profile gives the same bytes.
    return gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6)


def load(path: PathLike, format: str | None = None, **options: Any) -> Tables:
    """Read a profile from a file.

    Parameters
    ----------
    path : path-like
    format : str, optional
        A readable format's name; without it the content decides.
    **options
        ``interval_ms``: what one sample stands for in formats that only count them.

    Returns
    -------
    Tables

    Raises
    ------
    FormatError
        A `ValueError` that says where in the file and what is wrong.
    ValueError
        `format` does not exist or cannot be read back.
    OSError
        The file cannot be read.
    """
    data = _content(path)
    if format is None and not data.strip():
        meant = _by_ending(path)
        format = meant.name if meant is not None and meant.reads_empty else None
    try:
        return loads(data, format, **options)
    except FormatError as error:
        raise FormatError(f"{os.fspath(path)}: {error}") from error


# Text of so much takes some ten times the memory; `/dev/zero` and a pipe have no end.
_LARGEST_FILE = 2 << 30
_PIECE = 1 << 20


def _content(path: PathLike) -> bytes:
    """What a file holds; nothing of one that is too large is read, where it tells its size."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size <= _LARGEST_FILE:
            pieces, left = [], _LARGEST_FILE
            while piece := file.read(_PIECE):
                pieces.append(piece)
                left -= len(piece)
                if left < 0:
                    break
            else:
                return b"".join(pieces)
    raise FormatError(
        f"{os.fspath(path)}: more than {_LARGEST_FILE} bytes, which is not read: record with "
        "`aggregate=True`, or a longer interval"
    )


def loads(data: bytes, format: str | None = None, **options: Any) -> Tables:
    """Read a profile from the content of a file, gzipped or not; see `load`."""
    _check_interval(options.get("interval_ms"))
    if data.startswith(b"\x1f\x8b"):
        data = gunzip(data)
    if format is None:
        return _loads_unnamed(data, options)
    chosen = find(format)
    if not chosen.readable:
        raise ValueError(f"{chosen.name} files cannot be read back; these can: {_readable()}")
    return chosen.load(data, **options)


def _readable() -> str:
    return ", ".join(entry.name for entry in FORMATS.values() if entry.readable)


def _loads_unnamed(data: bytes, options: dict[str, Any]) -> Tables:
    """Read what looks like one of the formats; where it is none, say which there are."""
    if not data.strip():
        raise FormatError("the file is empty")
    foreign = _foreign(data)
    if foreign is not None:
        raise FormatError(foreign)
    module = _only_read(data)
    if module is not None:
        tables: Tables = importlib.import_module("." + module, __package__).load(data)
        return tables
    chosen, sure = _sniff(data)
    try:
        return chosen.load(data, **options)
    except FormatError as error:
        if sure:
            raise
        # What is wrong with bytes that are no message at all helps nobody.
        reason = f": {error}" if chosen.name != "pprof" else ""
        raise FormatError(
            f"no profile of a kind that can be read ({_readable()}){reason}"
        ) from error


# A member of the threads of Firefox Profiler files, or of what they share.
_STACK_TABLE = re.compile(rb'"stackTable"\s{0,9}:')


def _sniff(data: bytes) -> tuple[Format, bool]:
    """The format that a file's beginning means, and whether it can hardly be another file."""
    if data.startswith(b"SPPROF"):
        return FORMATS["spprof"], True
    if any(byte < 7 for byte in data[:64]):  # text may ring the bell
        # A message begins with its first field, a message too; the empty string is in every one.
        return FORMATS["pprof"], data.startswith(b"\n") and b"\x32\x00" in data
    if data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        if _STACK_TABLE.search(data):
            return FORMATS["gecko"], True
        return FORMATS["speedscope"], b'"shared"' in data
    return FORMATS["collapsed"], b";" in data.partition(b"\n")[0]


# Files of other profilers that are met often: how they begin, and what to do with them.
_FOREIGN = (
    (
        b"PERFILE2",
        "a perf.data file: `perf script | stackcollapse-perf.pl > out.folded` makes one that can "
        "be read",
    ),
    (b"memray", "a memray file, which is of memory: see `memray flamegraph`"),
)


def _only_read(data: bytes) -> str | None:
    """The module of a format that is read and never written, where the content is of one."""
    # A marshalled table with tuples as keys: cProfile's.
    if bytes(byte & 0x7F for byte in data[:2]) in (b"{(", b"{)"):
        return "pstats"
    # A magic number in either order, and a small one.
    if data[:4] in (b"HCAT", b"TACH") and 0 in data[4:8]:
        return "profiling_sampling"
    return None


def _foreign(data: bytes) -> str | None:
    """What a file of another kind is, and what to do with it; None where it may be readable."""
    for start, advice in _FOREIGN:
        if data.startswith(start):
            return advice
    if (
        data[:1] == b"{"
        and b'"timeDeltas"' in data
        and not (b'"shared"' in data or b'"stackTable"' in data)
    ):
        return (
            "a .cpuprofile of Chrome or Node: https://www.speedscope.app opens it, and exports a "
            "file that can be read"
        )
    return None
