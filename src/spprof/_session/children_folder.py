"""The folder that the processes of one session share: what is asked, and each one's part.

Private to the user. A part is written to another name and renamed, so that it is whole whatever
ends its writer. Must not know what a part holds, nor how a session is run.
"""

from __future__ import annotations

import marshal
import os
import time

from . import children_cpu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PREFIX = "spprof-processes-"
_ASKED, _ENDING = "asked", ".part"
# Who is about to kill a process waits so long for what it has; several that are killed at once are
# asked once.
ANSWER_S, ASK_AGAIN_S = 0.3, 0.1
# A form that every Python reads.
_FORM = 2


class Folder:
    """One session's folder, by its path."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._asked = os.path.join(path, _ASKED)

    @classmethod
    def create(cls, asked: dict[str, Any], owner: int | None = None) -> Folder:
        """Make a folder that belongs to a process and tells what is asked of the others.

        Removes what sessions left behind whose processes were all killed.

        Parameters
        ----------
        asked : dict
        owner : int, optional
            The pid of the process with which the session ends at the latest; this one's without.

        Raises
        ------
        OSError
            There is no place for it.
        """
        import tempfile

        where = tempfile.gettempdir()
        for left in cls.all_of_user(where):
            if not is_alive(*left.owner):
                left.remove()
        of = "-".join(map(str, identity(os.getpid() if owner is None else owner)))
        made = cls(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getuid()}-{of}-", dir=where))
        try:
            made.write(_ASKED, asked)
        except BaseException:
            made.remove()
            raise
        return made

    @classmethod
    def all_of_user(cls, where: str) -> list[Folder]:
        """The folders of this user's sessions in a temporary directory."""
        prefix = f"{_PREFIX}{os.getuid()}-"
        found = [
            cls(os.path.join(where, name)) for name in os.listdir(where) if name.startswith(prefix)
        ]
        return [folder for folder in found if folder.belongs_to_user()]

    def belongs_to_user(self) -> bool:
        """Whether nobody else can have written what is in it."""
        try:
            found = os.lstat(self.path)
        except OSError:
            return False
        return found.st_uid == os.geteuid() and found.st_mode & 0o170077 == 0o040000

    def asked(self) -> dict[str, Any]:
        """What is asked of the processes.

        Raises
        ------
        OSError, ValueError
            It is gone, or no such folder.
        """
        if not self.belongs_to_user():
            raise PermissionError(f"{self.path} is not this user's own")
        return _read(self._asked)

    @property
    def owner(self) -> tuple[int, int]:
        """The `identity` of the process whose session it is; (0, 0) where the name has none."""
        numbers = os.path.basename(self.path)[len(_PREFIX) :].split("-")[1:3]
        if len(numbers) < 2 or not all(map(str.isdigit, numbers)):
            return 0, 0
        return int(numbers[0]), int(numbers[1])

    def asked_at(self) -> int | None:
        """When something was asked last, by the clock of files; None once the session has ended."""
        try:
            return os.stat(self._asked).st_mtime_ns
        except OSError:
            return None

    def ask_for_part(self, pid: int) -> None:
        """Have processes write now, and wait a moment for one that is about to be killed."""
        try:
            parts = self.parts_of(pid)
            if not parts:
                return
            asked_at = os.stat(self._asked).st_mtime_ns
            if time.time_ns() - asked_at > ASK_AGAIN_S * 1e9:
                os.utime(self._asked)
                asked_at = os.stat(self._asked).st_mtime_ns
            until = time.monotonic() + ANSWER_S
            while time.monotonic() < until and is_alive(*identity(pid)):
                if any(os.stat(part).st_mtime_ns >= asked_at for part in parts):
                    return
                time.sleep(0.002)
        except OSError:
            return  # the session has ended meanwhile

    def parts_of(self, pid: int) -> list[str]:
        """The files of the parts of a process; raises OSError."""
        names = os.listdir(self.path)
        return [
            os.path.join(self.path, name)
            for name in names
            if name.startswith(f"{pid}-") and name.endswith(_ENDING)
        ]

    def end(self) -> None:
        """Tell the processes that the session has ended: nothing is asked any more."""
        os.unlink(self._asked)

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write a file that is there as a whole, or not at all; raises OSError."""
        path = os.path.join(self.path, name)
        try:
            with open(path + ".new", "wb") as file:
                file.write(marshal.dumps(content, _FORM))
            os.replace(path + ".new", path)
        except OSError:
            if os.path.exists(path + ".new"):
                os.unlink(path + ".new")
            raise

    def write_part(self, name: str, content: dict[str, Any]) -> None:
        """Write what a process has of the profile; raises OSError."""
        self.write(name + _ENDING, content)

    def parts(self) -> list[dict[str, Any]]:
        """The parts that there are, the oldest names first; raises OSError."""
        found = []
        for name in sorted(os.listdir(self.path)):
            if name.endswith(_ENDING):
                found.append(_read(os.path.join(self.path, name)))
        return found

    def remove(self) -> None:
        """Remove it with all that is in it; a process may be writing there meanwhile."""
        for _ in range(3):
            try:
                for name in os.listdir(self.path):
                    try:
                        os.unlink(os.path.join(self.path, name))
                    except FileNotFoundError:
                        continue  # renamed, or removed by another process
                os.rmdir(self.path)
            except FileNotFoundError:
                return
            except OSError:
                continue  # a file came meanwhile


def _read(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        content: dict[str, Any] = marshal.loads(file.read())
    return content


def identity(pid: int) -> tuple[int, int]:
    """A process and when it began (0 where the system does not tell): pids are used again."""
    status = children_cpu.status(pid)
    return pid, 0 if status is None else status[2]


def is_alive(pid: int, start: int) -> bool:
    """Whether a process of this `identity` runs; one that ended and was not waited for does not."""
    status = children_cpu.status(pid)
    if status is not None:
        return status[0] not in "ZX" and start in (0, status[2])
    if start:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
