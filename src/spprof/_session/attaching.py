"""Profiling a process that runs already: asking it, looking at it, and having its profile.

What it records goes by way of a folder, as that of children does. Must not know how the other
process is made to run something, nor who asks.
"""

from __future__ import annotations

import os
import tempfile

from .._version import __version__
from . import children, children_folder, children_profile, remote
from .children_folder import Folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .._profile.model import Profile
    from .options import Options

# Then whoever waits is told why nothing happens.
PATIENCE_S = 2.0

# What the other process runs: whatever it has on its path, it finds this package.
_SCRIPT = """\
import sys, _frozen_importlib_external
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "spprof":
            return _frozen_importlib_external.PathFinder.find_spec(name, [{package!r}])
sys.meta_path.insert(0, Finder)
try:
    from spprof._session.attached import begin
    begin({folder!r}, {version!r})
except BaseException as error:
    with open({refusal!r} + ".new", "w", encoding="utf-8", errors="replace") as file:
        file.write("%s: %s" % (type(error).__name__, error))
    import os
    os.replace({refusal!r} + ".new", {refusal!r})
finally:
    sys.meta_path.remove(Finder)
"""
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Attachment:
    """The session of another process."""

    def __init__(self, pid: int, folder: Folder) -> None:
        self.pid = pid
        self._folder = folder

    @classmethod
    def begin(
        cls,
        pid: int,
        options: Options,
        native: bool,
        *,
        stays: bool,
        waiting: Callable[[], None],
    ) -> Attachment:
        """Start the session there.

        Parameters
        ----------
        pid : int
        options : Options
        native : bool
            Whether native frames are unwound.
        stays : bool
            Whether the session goes on when this process ends, until somebody finds it.
        waiting : callable
            Called when the process has not begun after `PATIENCE_S`.

        Raises
        ------
        Unreachable
            The process cannot be asked, or refuses.
        OSError
            There is no place for files.
        """
        remote.check(pid)
        asked = children.asked_of(options, native)
        folder = Folder.create({**asked, "attached": pid}, pid if stays else os.getpid())
        made = cls(pid, folder)
        try:
            made._ask()
            remote.wait(pid, made._answered, PATIENCE_S, waiting)
        except BaseException:
            folder.remove()
            raise
        return made

    @classmethod
    def find(cls, pid: int) -> Attachment:
        """The session that was begun there and stays.

        Raises
        ------
        Unreachable
            There is none.
        """
        for folder in Folder.all_of_user(tempfile.gettempdir()):
            try:
                if folder.owner == children_folder.identity(pid) and "attached" in folder.asked():
                    return cls(pid, folder)
            except (OSError, ValueError):
                continue
        raise remote.Unreachable(f"no session was started in process {pid} by `spprof attach`")

    def _ask(self) -> None:
        script = os.path.join(self._folder.path, "script.py")
        text = _SCRIPT.format(
            package=_PACKAGE,
            folder=self._folder.path,
            version=__version__,
            refusal=self._refusal,
        )
        with open(script, "w", encoding="utf-8") as file:
            file.write(text)
        remote.run(self.pid, script)

    @property
    def _refusal(self) -> str:
        return os.path.join(self._folder.path, "refused")

    def _answered(self) -> bool:
        try:
            with open(self._refusal, encoding="utf-8") as file:
                raise remote.Unreachable(f"process {self.pid} refuses: {file.read()}")
        except FileNotFoundError:
            return bool(self._folder.parts_of(self.pid))

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return children_folder.is_alive(*children_folder.identity(self.pid))

    def has_ended(self) -> bool:
        """Whether the process has left the session, or ended."""
        return not self.is_alive() or self._folder.asked_at() is None

    def look(self) -> Profile | None:
        """What it has recorded up to now, as it wrote it last; None where that is nothing yet."""
        self._folder.ask_for_part(self.pid)
        parts = self._folder.parts()
        return children_profile.profile_of_parts(self.pid, parts, is_over=False)

    def stop(self) -> Profile:
        """End the session there and have its profile.

        Raises
        ------
        Unreachable
            There is nothing of it.
        OSError
            It cannot be read.
        """
        profile = children_profile.profile_of_parts(self.pid, children.gather(self._folder))
        if profile is None:
            raise remote.Unreachable(f"process {self.pid} has left nothing")
        return profile
