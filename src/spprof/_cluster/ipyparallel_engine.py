"""Engines of ipyparallel: those of a DirectView, or all of a Client.

Must not know what is run there.
"""

from __future__ import annotations

import ipyparallel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class IPyParallel:
    """An engine; see `engine.Engine`."""

    def __init__(self, view: ipyparallel.DirectView | ipyparallel.Client) -> None:
        if isinstance(view, ipyparallel.Client):
            view = view[:]
        if not isinstance(view, ipyparallel.DirectView):
            raise TypeError(
                "which engines does spprof.cluster mean? A Client or a DirectView (rc[:]) tells, a "
                f"{type(view).__name__} does not"
            )
        self._view = view

    def run(self, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
        """See `engine.Engine`."""
        targets = self._view.targets
        numbers = [targets] if isinstance(targets, int) else targets
        if targets == "all":
            numbers = self._view.client.ids
        # Sent to all before any is waited for: each runs what it has to do first.
        waited = {n: self._view.client[n].apply_async(function, *args) for n in numbers}
        return {f"engine {number}": _result(answer) for number, answer in waited.items()}


def _result(answer: ipyparallel.AsyncResult) -> Any:
    try:
        return answer.get()
    except Exception as error:  # noqa: BLE001 - whatever was raised there
        return error
