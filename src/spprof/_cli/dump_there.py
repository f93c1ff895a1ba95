"""What `spprof dump` has a process run: it writes down where its threads are.

Self-contained: it is run as text, in a process that need not have this package, and leaves nothing.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def write(path: str) -> None:
    """Write a JSON file that is there as a whole, or not at all."""
    import json
    import os
    import sys

    threading = sys.modules.get("threading")
    known = {} if threading is None else threading._active.copy()
    here = sys._getframe()
    threads = []
    for ident, innermost in sys._current_frames().items():
        frame: Any = innermost
        is_this = ident == threading.get_ident() if threading is not None else frame is here
        while is_this and frame is not None and frame.f_globals is here.f_globals:
            frame = frame.f_back
        thread = known.get(ident)
        stack = []
        while frame is not None:
            code = frame.f_code
            stack.append(
                [getattr(code, "co_qualname", code.co_name), code.co_filename, frame.f_lineno or 0]
            )
            frame = frame.f_back
        threads.append(
            {
                "name": "" if thread is None else str(thread.name),
                "tid": getattr(thread, "native_id", None) or 0,
                "daemon": bool(thread is not None and thread.daemon),
                "stack": stack,
            }
        )
    found = {
        "pid": os.getpid(),
        "python": sys.version.partition(" ")[0],
        "argv": [str(part) for part in getattr(sys, "orig_argv", sys.argv)],
        "threads": threads,
    }
    with open(path + ".new", "w", encoding="utf-8", errors="surrogatepass") as file:
        json.dump(found, file)
    os.replace(path + ".new", path)
