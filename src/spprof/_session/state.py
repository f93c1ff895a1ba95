"""What sessions of this process share: their lock, and what one start tells its stop.

Must not know what is done under the lock.
"""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Protocol

    from .._profile.model import Profile
    from .._profile.values import PathLike
    from .children_cpu import Usage
    from .children_folder import Folder
    from .children_member import Member
    from .children_told import Told

    class Owner(Protocol):
        """Who started a session: gets its profile, whoever stops it."""

        profile: Profile | None


# Guards the values below and the order of start and stop; the native session has its own locks.
lock = threading.RLock()
output_path: PathLike | None = None
owner: Owner | None = None
# Of the children, at the start; and how they are asked for.
children_before: Usage | None = None
processes_spelling = ""
# Children whose samples come into the profile by another way, by pid.
covered: frozenset[int] = frozenset()
# Where other processes belong to the session: their folder, if the session is this process's; what
# its children are told; and this process, where it is another one's session.
folder: Folder | None = None
told: Told | None = None
member: Member | None = None
# Whether the session ends by itself where somebody else wants to start one.
gives_way = False
native_unwinding = False
# The module that looks at tasks of asyncio, since the first session that did.
tasks: ModuleType | None = None


def reset_after_fork() -> None:
    """Forget the parent's session, and a lock that another of its threads may have held."""
    global lock, output_path, owner, children_before, gives_way, covered
    lock = threading.RLock()
    output_path = owner = children_before = None
    covered = frozenset()
    gives_way = False
