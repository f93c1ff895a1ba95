"""Actors of Ray: one, or a list of them.

Ray chooses itself in which process a task runs, so what runs in each worker can be said for actors
only. Must not know what is run there.
"""

from __future__ import annotations

import ray

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Ray:
    """An engine; see `engine.Engine`."""

    def __init__(self, actors: Any) -> None:
        self._actors = [*actors] if isinstance(actors, (list, tuple)) else [actors]
        for actor in self._actors:
            if not hasattr(actor, "__ray_call__"):
                raise TypeError(
                    f"workers of Ray are its actors, not {type(actor).__name__}: for tasks, "
                    "ray.init() in a session with processes=True has those of this machine"
                )

    def run(self, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
        """See `engine.Engine`: an actor answers when it has done what it was asked before."""
        # Sent to all before any is waited for.
        waited = [actor.__ray_call__.remote(_called, function, *args) for actor in self._actors]
        return {f"actor {number}": _result(answer) for number, answer in enumerate(waited)}


def _called(_actor: Any, function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def _result(answer: ray.ObjectRef) -> Any:
    try:
        return ray.get(answer)
    except ray.exceptions.RayTaskError as error:
        return error.cause
    except ray.exceptions.RayError as error:  # it died, or cannot unpickle what it was asked
        return error
