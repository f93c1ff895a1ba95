"""Writing a file whole or not at all, and telling beforehand whether that could be done.

Must not know any format.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from .._profile.values import PathLike


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


def _refuse_links_of_others(path: Path) -> None:
    """As the system itself refuses them to whoever opens a file, in a directory like /tmp.

    Where a link leads is read here, and what it leads to is replaced: nobody else would ask.
    """
    for _ in range(40):  # as many as the system follows
        if not path.is_symlink():
            return
        folder, link = os.stat(path.parent), os.lstat(path)
        for_all = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
        if for_all and hasattr(os, "geteuid") and link.st_uid not in (os.geteuid(), folder.st_uid):
            raise PermissionError(
                f"cannot write {path}: it is a link that somebody else has put into a directory "
                "that all may write to; choose a path in a directory you own"
            )
        path = path.parent / os.readlink(path)


def _checked_target(path: PathLike) -> Path:
    _refuse_links_of_others(Path(path))
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
