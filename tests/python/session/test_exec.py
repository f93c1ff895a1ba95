"""What happens to a session when its process becomes another program."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import spprof

# The ticker signals threads at every moment of the call: without care, about every second of these
# would end by SIGPROF.
PROGRAM = """
import os, sys, threading, spprof

def burn():
    while True:
        sum(range(1000))

threading.Thread(target=burn, daemon=True).start()
spprof.start(0.1)
sum(range({work}))
os.execv(sys.executable, [sys.executable, "-c", "raise SystemExit(7)"])
"""


def test_a_pending_signal_does_not_end_the_program_that_comes_next() -> None:
    for i in range(12):
        program = PROGRAM.format(work=1000 * i)
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 7


def test_sampling_goes_on_where_there_is_no_such_program() -> None:
    execv = os.execv
    with spprof.Profiler(1) as profiler:
        with pytest.raises(FileNotFoundError):
            os.execv("/no/such/program", ["program"])
        sum(range(5_000_000))
    assert profiler.profile is not None
    assert profiler.profile.sample_count > 10
    assert os.execv is execv
