"""The registry of formats, and saving and loading through it.

Must not know how any format looks inside, nor how samples are taken.
"""

from __future__ import annotations

import gzip
import importlib
import os
import secrets
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Union

from ._errors import FormatError

if TYPE_CHECKING:
    from .._compare import ProfileDiff
    from .._model import Profile

__all__ = ["FORMATS", "Format", "FormatError", "check_writable", "load", "loads", "save"]

PathLike = Union[str, "os.PathLike[str]"]


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
        Module in this package that has ``dump(profile, file, **options)`` and, where
        `readable`, ``load(data, **options)``.
    summary : str
        One line for people.
    readable : bool
        Whether `load` reads it back.
    differences : bool
        Whether it can show a `ProfileDiff`, or hold both of its profiles side by side.
    """

    name: str
    extensions: tuple[str, ...]
    module: str
    summary: str
    readable: bool = False
    differences: bool = False

    def dump(self, profile: Profile, file: BinaryIO, **options: Any) -> None:
        """Write `profile` to a binary file in this format."""
        self._module().dump(profile, file, **options)

    def load(self, data: bytes, **options: Any) -> Profile:
        """Read a profile from the content of a file in this format."""
        profile: Profile = self._module().load(data, **options)
        return profile

    def dump_diff(self, difference: ProfileDiff, file: BinaryIO, **options: Any) -> None:
        """Write a difference; formats that cannot show one write both profiles as threads."""
        own = getattr(self._module(), "dump_diff", None)
        if own is not None:
            own(difference, file, **options)
        else:
            self.dump(difference.as_profile(), file, **options)

    def _module(self) -> Any:
        # Imported when used: importing spprof must stay fast.
        return importlib.import_module("." + self.module, __name__)


FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        Format(
            "speedscope",
            (".speedscope.json", ".json"),
            "speedscope",
            "Speedscope JSON, for `spprof view` and https://www.speedscope.app",
            readable=True,
        ),
        Format(
            "collapsed",
            (".collapsed", ".folded", ".txt"),
            "collapsed",
            "collapsed stacks, for flamegraph.pl and everything that reads its input",
            readable=True,
            differences=True,
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
        ),
        Format(
            "svg",
            (".svg",),
            "svg",
            "flame graph as a picture that any browser opens and searches",
            differences=True,
        ),
        Format(
            "html",
            (".html", ".htm"),
            "html",
            "self-contained page with every view, for any browser, no network needed",
            differences=True,
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
    """Return the format that a file name's ending means; Speedscope where it means none."""
    name = Path(path).name.lower()
    matches = [
        (len(extension), entry)
        for entry in FORMATS.values()
        for extension in entry.extensions
        if name.endswith(extension)
    ]
    return max(matches, key=lambda match: match[0])[1] if matches else FORMATS["speedscope"]


def save(profile: Profile, path: PathLike, format: str | None = None, **options: Any) -> None:
    """Write a profile to `path`, whole or not at all; see `Profile.save`."""
    chosen = for_path(path) if format is None else find(format)
    with replacing(path) as file:
        chosen.dump(profile, file, **options)


def save_diff(
    difference: ProfileDiff, path: PathLike, format: str | None = None, **options: Any
) -> None:
    """Write a difference to `path`, whole or not at all; see `ProfileDiff.save`."""
    chosen = for_path(path) if format is None else find(format)
    if not chosen.differences:
        known = ", ".join(entry.name for entry in FORMATS.values() if entry.differences)
        raise ValueError(f"Unknown format {chosen.name!r} for a difference: use one of {known}")
    with replacing(path) as file:
        chosen.dump_diff(difference, file, **options)


def check_writable(path: PathLike) -> None:
    """Verify that `save` could write to `path`; nothing stays behind.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError
        The message names the path and what to do.
    """
    target = _target(path)
    if _is_special(target):
        return
    temporary = _name_beside(target)
    try:
        os.close(_create(temporary, target))
    finally:
        temporary.unlink(missing_ok=True)


def _target(path: PathLike) -> Path:
    try:
        return _checked_target(path)
    except PermissionError as error:
        if error.errno is None:
            raise
        # Not even the directories on the way may be looked into.
        raise PermissionError(
            f"cannot write {os.fspath(path)}: no permission to reach {Path(path).parent}; "
            "choose a path in a directory you own"
        ) from None


def _checked_target(path: PathLike) -> Path:
    # Through symbolic links: replacing the link itself would leave its target stale.
    target = Path(path).resolve()
    folder = target.parent
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {target}: it is a directory; name a file in it")
    if not folder.exists():
        raise FileNotFoundError(
            f"cannot write {target}: there is no directory {folder}; create it first"
        )
    if not folder.is_dir():
        raise NotADirectoryError(f"cannot write {target}: {folder} is not a directory")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(
            f"cannot write {target}: the file is read-only; remove it or choose another path"
        )
    return target


def _is_special(target: Path) -> bool:
    # Devices and pipes (/dev/stdout) cannot be replaced, only written to.
    return target.exists() and not target.is_file()


def _name_beside(target: Path) -> Path:
    return target.parent / f".spprof-{secrets.token_hex(8)}.tmp"


def _create(temporary: Path, target: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    flags |= getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        # 0o666 less the umask, as `open` would create it; tempfile's 0o600 would stay.
        return os.open(temporary, flags, 0o666)
    except PermissionError:
        raise PermissionError(
            f"cannot write {target}: no permission to create files in {target.parent}; "
            "choose a path in a directory you own"
        ) from None


@contextmanager
def replacing(path: PathLike) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` only once it is completely on disk.

    On any exception, `KeyboardInterrupt` included, what was at `path` stays as it was and
    nothing else is left behind.
    """
    target = _target(path)
    if _is_special(target):
        with target.open("wb") as file:
            yield file
        return
    temporary = _name_beside(target)
    try:
        with os.fdopen(_create(temporary, target), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        temporary.replace(target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None and error.errno is not None:
            # A full disk or a size limit does not say which file it struck.
            raise type(error)(error.errno, error.strerror, str(target)) from error
        raise


def load(path: PathLike, format: str | None = None, **options: Any) -> Profile:
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
    Profile

    Raises
    ------
    FormatError
        A `ValueError` that says where in the file and what is wrong.
    ValueError
        `format` does not exist or cannot be read back.
    OSError
        The file cannot be read.
    """
    data = Path(path).read_bytes()
    try:
        return loads(data, format, **options)
    except FormatError as error:
        raise FormatError(f"{os.fspath(path)}: {error}") from error


def loads(data: bytes, format: str | None = None, **options: Any) -> Profile:
    """Read a profile from the content of a file, gzipped or not; see `load`."""
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise FormatError(f"the gzip data is damaged or incomplete: {error}") from None
    chosen = find(format) if format is not None else _sniff(data)
    if not chosen.readable:
        readable = ", ".join(entry.name for entry in FORMATS.values() if entry.readable)
        raise ValueError(f"{chosen.name} files cannot be read back; these can: {readable}")
    return chosen.load(data, **options)


def _sniff(data: bytes) -> Format:
    if data.startswith(b"SPPROF"):
        return FORMATS["spprof"]
    if not data.strip():
        raise FormatError("the file is empty")
    if any(byte < 9 for byte in data[:64]):
        return FORMATS["pprof"]
    if data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return FORMATS["speedscope"]
    return FORMATS["collapsed"]
