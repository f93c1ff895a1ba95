"""Ranks of MPI: all run the same program, so that each asks itself and rank 0 is told.

Must not know what is run there.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mpi4py.MPI import Comm


class Mpi:
    """An engine; see `engine.Engine`. Its `run` is collective, as calls of MPI are."""

    def __init__(self, comm: Comm) -> None:
        self._comm = comm

    def run(self, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
        """See `engine.Engine`; nothing in ranks other than 0."""
        try:
            own = function(*args)
        except Exception as error:  # noqa: BLE001 - whatever was raised here
            own = error
        found = self._comm.gather(own, root=0)
        return {f"rank {rank}": result for rank, result in enumerate(found or ())}
