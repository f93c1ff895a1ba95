"""Runs inside gdb: at each stop of the probe, compares its return addresses with gdb's own.

Prints one line of JSON for each stop: the two lists, innermost first.
"""

from __future__ import annotations

import json
import os

import gdb  # type: ignore[import-not-found]

STOPS = int(os.environ["SPPROF_STOPS"])
END_OF_SIGNAL = gdb.SIGTRAMP_FRAME


def own_addresses() -> list[int]:
    count = int(gdb.parse_and_eval("count"))
    address = int(gdb.parse_and_eval("(unsigned long)addresses"))
    memory = gdb.selected_inferior().read_memory(address, 8 * count).tobytes()
    return [int.from_bytes(memory[i * 8 : i * 8 + 8], "little") for i in range(count)]


def gdb_addresses() -> list[tuple[int, str]]:
    """Frames beyond the signal handler's; inlined functions share their caller's address."""
    frame = gdb.newest_frame()
    while frame is not None and frame.type() != END_OF_SIGNAL:
        frame = frame.older()
    found = []
    frame = frame.older() if frame is not None else None
    while frame is not None:
        if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME, END_OF_SIGNAL):
            found.append((frame.pc(), frame.name() or "?"))
        frame = frame.older()
    return found


def is_lost(frames: list[tuple[int, str]]) -> bool:
    """Did gdb take some number for a return address? Code is always readable."""
    for address, _ in frames:
        try:
            gdb.selected_inferior().read_memory(address, 1)
        except gdb.MemoryError:
            return True
    return False


gdb.execute("set pagination off")
gdb.execute("set confirm off")
gdb.execute("set breakpoint pending on")
gdb.execute("set backtrace past-main on")
gdb.execute("set backtrace past-entry off")
gdb.execute("set backtrace limit 256")
gdb.execute("set debuginfod enabled off")
gdb.execute("handle SIGPROF nostop noprint pass")
gdb.execute("break probe_stop_here")
gdb.execute("run")
for _ in range(STOPS):
    if gdb.selected_inferior().pid == 0:
        break
    ours = own_addresses()
    theirs = gdb_addresses()
    end = int(gdb.parse_and_eval("end"))
    print(
        "STOP " + json.dumps({"ours": ours, "gdb": theirs, "lost": is_lost(theirs), "end": end}),
        flush=True,
    )
    gdb.execute("continue", to_string=True)
gdb.execute("kill")
