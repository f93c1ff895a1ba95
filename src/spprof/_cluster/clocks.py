"""How far another process's clock is from ours: plain values.

Must not know how a clock is read.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Offset:
    """What is to be added to another clock to have ours, in ns, and how sure that is.

    Parameters
    ----------
    ns : int
    error_ns : int
        The truth is at most this far away.
    """

    def __init__(self, ns: int, error_ns: int) -> None:
        self.ns, self.error_ns = ns, error_ns


SAME = Offset(0, 0)


def offset_of(looks: Iterable[tuple[int, int, int]]) -> Offset | None:
    """The best of several looks at another clock; None where there was none.

    Parameters
    ----------
    looks : iterable of (int, int, int)
        Our clock before, the other clock, our clock after. The other one was read somewhere in
        between: the shortest look tells most.
    """
    found = [
        Offset((before + after) // 2 - there, (after - before + 1) // 2)
        for before, there, after in looks
    ]
    return min(found, key=lambda offset: offset.error_ns, default=None)
