"""Workers of dask.distributed: whoever the scheduler knows, those that join later included.

Tasks are in a region of the name that Dask gives their kind (the prefix of their key). Must not
know what is run there.
"""

from __future__ import annotations

import inspect

import distributed
from distributed.utils import key_split

from .._session.regions import region

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_PLUGIN = "spprof"
# What runs a task in a worker's thread, by version: names in `distributed.worker`.
_RUNNERS = ("_run_task", "apply_function")


class Dask:
    """An engine; see `engine.Engine`."""

    def __init__(self, client: distributed.Client) -> None:
        if client.asynchronous:
            raise TypeError("the Client is asynchronous: spprof.cluster needs one that waits")
        self._client = client

    def run(self, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
        """See `engine.Engine`: workers go by their names, where these differ."""
        found = self._client.run(function, *args, on_error="return")
        known = self._client.scheduler_info(n_workers=-1)["workers"]
        names = {address: known.get(address, {}).get("name", address) for address in found}
        unique = len({str(name) for name in names.values()}) == len(names)
        return {
            f"worker {names[address]}" if unique else address: result
            for address, result in found.items()
        }

    def follow(self, function: Callable[..., Any], *args: Any) -> None:
        """See `engine.Following`; tasks are named from now on, too."""
        self._client.register_plugin(Joining(function, args), name=_PLUGIN)

    def unfollow(self) -> None:
        """See `engine.Following`."""
        self._client.unregister_worker_plugin(_PLUGIN)


class Joining(distributed.WorkerPlugin):  # type: ignore[misc]
    """What a worker does when it joins, and when nothing is asked of it any more."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._function, self._args = function, args

    def setup(self, worker: distributed.Worker) -> None:
        """Begin here; a refusal is told when the session ends."""
        _name_tasks(worker.name)
        self._function(*self._args)

    def teardown(self, worker: distributed.Worker) -> None:
        """Leave the worker as it was."""
        _forget_tasks()


_originals: dict[str, Any] = {}


def _name_tasks(worker: object) -> None:
    """Have tasks run in a region; of several workers in a process the first one's name counts."""
    from distributed import worker as module

    for name in _RUNNERS:
        original = getattr(module, name, None)
        if original is None or name in _originals:
            continue
        at = [*inspect.signature(original).parameters].index("key")
        _originals[name] = original
        setattr(module, name, _in_region(original, at, str(worker)))


def _forget_tasks() -> None:
    from distributed import worker as module

    while _originals:
        name, original = _originals.popitem()
        setattr(module, name, original)


def _in_region(original: Callable[..., Any], at: int, worker: str) -> Callable[..., Any]:
    def run_task(*args: Any, **kwargs: Any) -> Any:
        key = args[at] if len(args) > at else kwargs.get("key", "")
        with region(key_split(key), worker=worker):
            return original(*args, **kwargs)

    return run_task
