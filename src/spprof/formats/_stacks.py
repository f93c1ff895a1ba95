"""Whole stacks as text, and how much of one is believed. Must not know any one format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ._errors import FormatError

if TYPE_CHECKING:
    from .._profile.tables import Tables

Text = TypeVar("Text", str, bytes)

# No interpreter recurses so far without being asked to; a file that claims more would cost the
# square of it in every format that writes whole stacks.
DEEPEST = 20_000


def check_depth(frames: int, where: str) -> None:
    """Verify that a stack of so many frames may be; raises FormatError."""
    if frames > DEEPEST:
        raise FormatError(f"{where}: a stack of {frames} frames; at most {DEEPEST} can be read")


def texts_of(
    tables: Tables, used: Iterable[int], frames: Sequence[Text], between: Text, *, inner_first: bool
) -> dict[int, Text]:
    """Put together the texts of stacks from those of their frames: of the ones that are used only.

    Callers that stand for themselves have a text each: of all of them together it would be the
    square of the depth.
    """
    texts: dict[int, Text] = {}
    for stack in sorted(set(used)):  # callers first
        parts: list[Text] = []
        at = stack
        while at >= 0 and at not in texts:
            parts.append(frames[tables.stack_frame[at]])
            at = tables.stack_parent[at]
        if at >= 0:
            parts.append(texts[at])
        texts[stack] = between.join(parts if inner_first else reversed(parts))
    return texts
