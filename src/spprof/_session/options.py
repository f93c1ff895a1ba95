"""The options of a session: written once, for `start`, `Profiler` and `@profile`.

Must not know what is done with them.
"""

from __future__ import annotations

from .._profile import MODES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar

    from .._profile.values import PathLike

    P = ParamSpec("P")
    Result = TypeVar("Result")

_SHORTEST_MS, _LONGEST_MS = 0.1, 1000.0


class Options:
    """Options of a session; `start` says what they mean."""

    # How `processes` is asked for where these options come from, in a note.
    processes_spelling = "processes=True"

    def __init__(
        self,
        interval_ms: float = 10,
        output_path: PathLike | None = None,
        memory_limit_mb: float = 100,
        *,
        mode: str = "cpu",
        aggregate: bool = False,
        native: bool | None = None,
        processes: bool = False,
        tasks: bool = True,
    ) -> None:
        self.interval_ms = interval_ms
        self.output_path = output_path
        self.memory_limit_mb = memory_limit_mb
        self.mode = mode
        self.aggregate = aggregate
        self.native = native
        self.processes = processes
        self.tasks = tasks

    @property
    def interval_ns(self) -> int:
        """The interval, checked."""
        return round(_number("interval_ms", self.interval_ms, _SHORTEST_MS, _LONGEST_MS) * 1e6)

    @property
    def memory_limit_bytes(self) -> int:
        """The memory limit, checked."""
        return round(_number("memory_limit_mb", self.memory_limit_mb, 1, 1 << 20) * (1 << 20))

    def check(self) -> None:
        """Raise ValueError or TypeError for what is out of its range."""
        _ = self.interval_ns, self.memory_limit_bytes
        if self.mode not in MODES:
            raise ValueError(
                f"mode must be one of {', '.join(map(repr, MODES))}, not {self.mode!r}"
            )


def accepting(
    options: Callable[P, Options],
) -> Callable[[Callable[[Options], Result]], Callable[P, Result]]:
    """Let a function of `Options` be called with the options themselves."""

    def decorate(run: Callable[[Options], Result]) -> Callable[P, Result]:
        def accept(*args: P.args, **kwargs: P.kwargs) -> Result:
            return run(options(*args, **kwargs))

        accept.__name__, accept.__qualname__ = run.__name__, run.__qualname__
        accept.__doc__, accept.__module__ = run.__doc__, run.__module__
        # What `inspect.signature` and `help` show.
        accept.__wrapped__ = options  # type: ignore[attr-defined]
        return accept

    return decorate


def _number(name: str, value: Any, least: float, most: float) -> float:
    if isinstance(value, bool):
        raise TypeError(f"{name} must be a number from {least:g} to {most:g}, not {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} must be a number from {least:g} to {most:g}, not {value!r}"
        ) from None
    if not least <= number <= most:  # nor is NaN
        raise ValueError(f"{name} must be from {least:g} to {most:g}, not {value!r}")
    return number
