"""What labels samples carry, and what time the regions of a program took by them.

A region is a label ``region``, its name, and the further labels up to the next region inside of it.
Must not know how labels come to samples, nor any file format.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .tables import LabelIndex
from .words import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .tables import Tables

REGION = "region"


@dataclass(frozen=True)
class RegionStats:
    """Time of one region of a program.

    Parameters
    ----------
    name : str
    labels : dict of str to str
        The values that the region was given, as text; empty with ``by="name"``.
    path : tuple of str
        Names of the regions it is in, outermost first, and its own.
    own_ns, total_ns : int
        Time in the region but in no region inside of it, and with those.
    own_samples, total_samples : int
    own_share, total_share : float
        Of the whole profile's time, 0 to 1.
    """

    name: str
    labels: Mapping[str, str]
    path: tuple[str, ...]
    own_ns: int
    total_ns: int
    own_samples: int
    total_samples: int
    own_share: float
    total_share: float

    def __str__(self) -> str:
        given = "".join(f" {key}={value}" for key, value in self.labels.items())
        indent = "  " * (len(self.path) - 1)
        name = shown(f"{self.name}{given}")
        return f"{self.own_share:7.1%} {self.total_share:7.1%}  {indent}{name}"


class RegionList(list[RegionStats]):
    """What `Profile.regions` returns: a list whose text is a table."""

    def __str__(self) -> str:
        lines = [f"{'own':>7} {'total':>7}  region", *map(str, self)]
        return "\n".join(line.rstrip() for line in lines)

    def _repr_pretty_(self, printer: object, cycle: bool) -> None:
        """IPython's text form of an output."""
        printer.text(str(self))  # type: ignore[attr-defined]


def label_sets(tables: Tables) -> dict[LabelIndex, tuple[tuple[str, str], ...]]:
    """For each row of the labels all of its set, outermost first; for -1 none."""
    sets: dict[LabelIndex, tuple[tuple[str, str], ...]] = {LabelIndex(-1): ()}
    rows = zip(tables.label_parent, tables.label_key, tables.label_value)
    for row, (parent, key, value) in enumerate(rows):
        label = (tables.strings[key], tables.strings[value])
        sets[LabelIndex(row)] = (*sets[parent], label)
    return sets


@dataclass
class _Region:
    name: str
    parent: int
    labels: dict[str, str] = field(default_factory=dict)
    own_ns: int = 0
    own_samples: int = 0
    total_ns: int = 0
    total_samples: int = 0


def _sums(tables: Tables) -> dict[LabelIndex, list[int]]:
    sums: dict[LabelIndex, list[int]] = {}
    for label, ns, count in zip(tables.sample_labels, tables.sample_weight, tables.sample_count):
        entry = sums.setdefault(label, [0, 0])
        entry[0] += ns
        entry[1] += count
    return sums


def _by_place(tables: Tables) -> list[_Region]:
    """Each region in each region around it, outer before inner, with sums."""
    found: list[_Region] = []
    places: dict[tuple[int, str, tuple[tuple[str, str], ...]], int] = {}
    sets = label_sets(tables)
    for label, (ns, count) in sorted(_sums(tables).items()):
        # A region's labels follow its name, up to the name of the next.
        groups: list[list[tuple[str, str]]] = []
        for key, value in sets[label]:
            if key == REGION:
                groups.append([(key, value)])
            elif groups:
                groups[-1].append((key, value))
        place = -1
        for (_, name), *labels in groups:
            key_of = (place, name, tuple(labels))
            inner = places.setdefault(key_of, len(found))
            if inner == len(found):
                found.append(_Region(name, place, dict(labels)))
            place = inner
        if place >= 0:
            found[place].own_ns += ns
            found[place].own_samples += count
    for region in found:
        region.total_ns, region.total_samples = region.own_ns, region.own_samples
    for region in reversed(found):
        if region.parent >= 0:
            found[region.parent].total_ns += region.total_ns
            found[region.parent].total_samples += region.total_samples
    return found


def _by_name(found: list[_Region]) -> list[_Region]:
    """Regions of a name as one; time of one inside another of its name counts once."""
    named: dict[str, _Region] = {}
    for region in found:
        one = named.setdefault(region.name, _Region(region.name, -1))
        one.own_ns += region.own_ns
        one.own_samples += region.own_samples
        outer = region.parent
        while outer >= 0 and found[outer].name != region.name:
            outer = found[outer].parent
        if outer < 0:
            one.total_ns += region.total_ns
            one.total_samples += region.total_samples
    return list(named.values())


def regions(tables: Tables, by: str = "path") -> RegionList:
    """See `Profile.regions`."""
    if by not in ("path", "name"):
        raise ValueError(f'by must be "path" or "name", not {by!r}')
    found = _by_place(tables)
    if by == "name":
        found = _by_name(found)
    whole = sum(tables.sample_weight) or 1
    inner: dict[int, list[int]] = {}
    for place, region in enumerate(found):
        inner.setdefault(region.parent, []).append(place)
    result = RegionList()

    def most_first(places: list[int]) -> list[int]:
        return sorted(places, key=lambda place: (-found[place].total_ns, found[place].name))

    pending: list[tuple[int, tuple[str, ...]]] = [
        (place, ()) for place in reversed(most_first(inner.get(-1, [])))
    ]
    while pending:
        place, path = pending.pop()
        region = found[place]
        path = (*path, region.name)
        result.append(
            RegionStats(
                region.name,
                region.labels,
                path,
                region.own_ns,
                region.total_ns,
                region.own_samples,
                region.total_samples,
                region.own_ns / whole,
                region.total_ns / whole,
            )
        )
        pending += [(child, path) for child in reversed(most_first(inner.get(place, [])))]
    return result


def labels_with(tables: Tables, key: str, matches: Callable[[str], bool]) -> set[LabelIndex]:
    """Rows of labels whose set has this key with a value that matches."""
    found: set[LabelIndex] = set()
    rows = zip(tables.label_parent, tables.label_key, tables.label_value)
    for row, (parent, name, value) in enumerate(rows):
        if parent in found or (tables.strings[name] == key and matches(tables.strings[value])):
            found.add(LabelIndex(row))
    return found
