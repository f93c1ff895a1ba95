"""The pytest plugin's options. All that pytest loads where nobody asks for a profile.

Outside of the package `spprof`, whose import would load the native module. Must import neither that
nor `plugin`, which does, before ``--spprof`` is given.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of their own group."""
    group = parser.getgroup("spprof", "sampling profiler")
    group.addoption(
        "--spprof",
        action="store_true",
        help="profile the tests; show the slowest ones with the functions that took their time",
    )
    group.addoption(
        "--spprof-out",
        metavar="DIR",
        help="profile the tests; save the whole run and the slowest tests in this folder",
    )
    group.addoption(
        "--spprof-interval",
        metavar="MS",
        type=float,
        default=1.0,
        help="milliseconds between samples, 0.1 to 1000 (default: 1)",
    )
    group.addoption(
        "--spprof-mode",
        choices=["cpu", "wall"],
        default="wall",
        help="time on the clock, waiting included (default), or the processor's",
    )
    group.addoption("--spprof-native", action="store_true", help="sample C and C++ frames as well")
    group.addoption(
        "--spprof-slowest",
        metavar="N",
        type=int,
        default=10,
        help="how many tests to show (default: 10)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Load what profiles, where it is asked for."""
    if config.getoption("--spprof") or config.getoption("--spprof-out"):
        from .plugin import TestProfile

        config.pluginmanager.register(TestProfile(config), "spprof-session")
