"""Sampling profiler for CPython that runs inside the profiled process."""

from spprof._version import __version__

__all__ = ["__version__"]
