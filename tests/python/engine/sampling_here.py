"""How samples are taken on this system, as far as tests have to know."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

# The ticker may ask for short slices, and the kernel heeds it.
TICKER_PREEMPTS = sys.platform == "linux" and (
    tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2]) >= (6, 12)
    and re.search(r"^Seccomp:\s+0$", Path("/proc/self/status").read_text(), re.M) is not None
)
KERNEL_TICK_MS = time.clock_getres(getattr(time, "CLOCK_MONOTONIC_COARSE", 6)) * 1000


def engine_at(interval_ms: float) -> str:
    """Timers on the kernel's tick where the ticker would come late, and they come often enough."""
    if sys.platform != "linux" or TICKER_PREEMPTS or interval_ms < KERNEL_TICK_MS:
        return "ticker"
    return "timer"
