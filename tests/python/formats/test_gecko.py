"""What Firefox Profiler files cost to write."""

from __future__ import annotations

from array import array

import pytest

from spprof.formats import FORMATS


class Counted(array):
    """A column that counts how often all of it is read."""

    passes = 0

    def __iter__(self):
        self.passes += 1
        return super().__iter__()


@pytest.mark.parametrize("threads", [2, 60])
def test_rows_are_not_read_once_for_each_thread(threads, make_profile) -> None:
    tables = make_profile(2000, threads=threads)._tables
    counted = Counted("I", tables.sample_thread)
    FORMATS["gecko"].dumps(tables.same_stacks(sample_thread=counted))
    assert 0 < counted.passes < 5
