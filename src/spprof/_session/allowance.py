"""How much of its time a loop gives to looks at its tasks, and when the next one may be.

Pure: must not know clocks, loops or tasks.
"""

from __future__ import annotations

# One part in so many of the time in which a loop works, and of that in which it has nothing to do:
# what is taken then still is CPU time, and a loop that serves may use little of it.
_WORK_SHARE, _IDLE_SHARE = 200, 1000
# What looks did not take they may take later, but for no more than that at once.
_AT_ONCE_NS = 10_000_000


class Allowance:
    """Of one loop, from its first round in a session on."""

    __slots__ = ("_spare",)

    def __init__(self) -> None:
        self._spare = _AT_ONCE_NS

    def spend(self, worked: int, idle: int, took: int) -> tuple[int, int]:
        """Book a look.

        Parameters
        ----------
        worked, idle : int
            For how long the loop worked since the look before, and had nothing to do, in ns.
        took : int
            How much of the processor the look took, in ns.

        Returns
        -------
        time, idle : int
            In how many ns the next look may be, if the loop goes on as before, and how many of them
            it will be idle.
        """
        earned = worked // _WORK_SHARE + idle // _IDLE_SHARE
        self._spare = min(_AT_ONCE_NS, self._spare + earned) - took
        if self._spare >= 0:
            return 0, 0
        time = worked + idle
        if not time or not earned:
            rest = -self._spare * _IDLE_SHARE
            return rest, rest
        rest = -self._spare * time // earned
        return rest, rest * idle // time
