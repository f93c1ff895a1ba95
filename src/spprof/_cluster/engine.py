"""What is asked of an engine that runs workers: run this there, bring that back.

Must not know any one engine, but where each is found.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Engine(Protocol):
        """Runs a function in each worker's process.

        An object of one's own with these members can be given to `spprof.cluster` as it is.
        """

        def run(self, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
            """Call ``function(*args)`` in each worker.

            Returns
            -------
            dict
                By the worker's name what was returned, or the exception that was raised there.
            """

    class Following(Engine, Protocol):
        """An engine whose workers come and go."""

        def follow(self, function: Callable[..., Any], *args: Any) -> None:
            """Have ``function(*args)`` called in each worker that joins from now on."""

        def unfollow(self) -> None:
            """End that."""


# Where the adapters are, by the module in which a type of theirs is defined. A type is known by
# what it is derived from, so that nothing is imported to look.
_ADAPTERS = {
    "distributed": ("dask_engine", "Dask"),
    "ipyparallel": ("ipyparallel_engine", "IPyParallel"),
    "mpi4py": ("mpi_engine", "Mpi"),
    "ray": ("ray_engine", "Ray"),
}


def engine_of(workers: Any) -> Engine:
    """The engine behind what the user calls his workers.

    Raises
    ------
    TypeError
        It is none that is known, and has no `run` of its own.
    """
    several = isinstance(workers, (list, tuple)) and workers
    for kind in type(several[0] if several else workers).__mro__:
        known = _ADAPTERS.get(kind.__module__.partition(".")[0])
        if known is not None:
            module = f"{__package__}.{known[0]}"
            __import__(module)
            made: Engine = getattr(sys.modules[module], known[1])(workers)
            return made
    if callable(getattr(workers, "run", None)):
        own: Engine = workers
        return own
    raise TypeError(
        "workers are a Client of dask.distributed, a view or Client of ipyparallel, a communicator "
        "of mpi4py, actors of Ray, or an object with run(function, *args) -> {worker: result}, not "
        f"{type(workers).__name__}"
    )
