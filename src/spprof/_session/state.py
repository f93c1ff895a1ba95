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

    class Owner(Protocol):
        """Who started a session: gets its profile, whoever stops it."""

        profile: Profile | None


# Guards the values below and the order of start and stop; the native session has its own locks.
lock = threading.RLock()
output_path: PathLike | None = None
owner: Owner | None = None
native_unwinding = False
# The module that looks at tasks of asyncio, since the first session that did.
tasks: ModuleType | None = None


def reset_after_fork() -> None:
    """Forget the parent's session, and a lock that another of its threads may have held."""
    global lock, output_path, owner
    lock = threading.RLock()
    output_path = owner = None
