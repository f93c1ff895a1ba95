"""The native module as sessions use it: the only file that calls it.

docs/ARCHITECTURE.md says what its functions mean. Must not know options, hooks nor profiles.
"""

from __future__ import annotations

import threading

from .. import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Result = TypeVar("Result")


def start(
    interval_ns: int, mode: str, memory_limit_bytes: int, native: bool, aggregate: bool
) -> None:
    """Start the session."""
    _native.start(interval_ns, mode, memory_limit_bytes, native, aggregate, _thread_names())


def stop() -> dict[str, Any]:
    """End the session; returns what it recorded."""
    raw: dict[str, Any] = _native.stop(_thread_names())
    return raw


def snapshot() -> dict[str, Any]:
    """What the session has recorded up to now; it goes on."""
    raw: dict[str, Any] = _native.snapshot(_thread_names())
    return raw


def is_active() -> bool:
    """Whether a session is running in this process."""
    return bool(_native.is_active())


def stats() -> dict[str, Any]:
    """Figures of the running session."""
    figures: dict[str, Any] = _native.stats()
    return figures


def notes() -> list[str]:
    """What the session could not have as asked."""
    return list(_native.notes())


def pause() -> bool:
    """Take no samples; False where it was paused already."""
    return bool(_native.pause())


def resume() -> None:
    """Go on after `pause`."""
    _native.resume()


def without_our_signal(original: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    """Call `original` while SIGPROF belongs to whoever had it before the session."""
    was_running = pause()
    _native.give_signal_back()
    try:
        return original(*args, **kwargs)
    finally:
        _native.take_signal_again()
        if was_running:
            resume()


def register_thread() -> bool:
    """Follow the calling thread."""
    return bool(_native.register_thread(threading.current_thread().name, threading.get_ident()))


def unregister_thread() -> bool:
    """Follow the calling thread no longer; whether it was followed."""
    return bool(_native.unregister_thread())


def ignore_thread() -> None:
    """Never follow the calling thread, which is one of ours and unknown to `threading`."""
    _native.register_thread("", threading.get_ident())
    _native.unregister_thread()


def about_to_block_signal() -> None:
    """The calling thread is about to block SIGPROF: it is sent no signal until it has it open."""
    _native.about_to_block_signal()


def is_thread_registered() -> bool:
    """Whether the calling thread is followed."""
    return bool(_native.is_thread_registered())


def settle_thread(name: str) -> None:
    """The calling thread is about to end: credit what it used since its last sample."""
    _native.settle_thread(name)


def thread_starter(original: Any) -> Any:
    """Stand in for `_thread.start_new_thread` and its like."""
    return _native.thread_starter(original)


def reporting_caller(original: Any, before: Any, after: Any) -> Any:
    """Stand in for a function: before(*args) makes its arguments, after(result, *args) follows."""
    return _native.reporting_caller(original, before, after)


def native_unwinding_available() -> bool:
    """Whether native frames can be unwound here."""
    return bool(_native.native_unwinding_available())


def capture_native_stack() -> list[tuple[int, str, str, int, bool]]:
    """The calling thread's native stack: ip, symbol, filename, offset, resolved."""
    return list(_native.capture_native_stack())


def labels_in(context: Any) -> tuple[tuple[str, str], ...]:
    """Names and values of the regions that a context is in, outermost first."""
    labels: tuple[tuple[str, str], ...] = _native.labels_in(context)
    return labels


def regions_entered() -> int:
    """How many regions the process is in, whoever entered them."""
    return int(_native.regions_entered())


def region_type() -> Any:
    """What `spprof.region` derives from."""
    return _native.region_type()


def loop_types() -> tuple[Any, Any]:
    """What tells of the rounds of asyncio's loops: the watch of one, and what stands in methods."""
    return _native.loop_watch_type(), _native.loop_hook_type()


def monotonic_ns() -> int:
    """The engine's clock."""
    return int(_native.monotonic_ns())


def job_hook_type() -> Any:
    """What stands for a method that takes a function to run elsewhere."""
    return _native.job_hook_type()


def collection_callback() -> Any:
    """What tells the engine when garbage is collected, for `gc.callbacks`."""
    return _native.collection_callback()


def demangle(symbol: str) -> str:
    """A C++ or Rust symbol as people read it."""
    return str(_native.demangle(symbol))


def after_fork_in_child() -> None:
    """Forget the parent's session."""
    _native.after_fork_in_child()


def end_threads() -> None:
    """End the engine's own threads, before a fork: Python warns where there are several."""
    _native.end_threads()


def begin_threads() -> None:
    """Begin them again, after the fork."""
    _native.begin_threads()


def _thread_names() -> list[tuple[int, str, int]]:
    return [
        (thread.native_id, thread.name, thread.ident)
        for thread in threading.enumerate()
        if thread.native_id is not None and thread.ident is not None
    ]
