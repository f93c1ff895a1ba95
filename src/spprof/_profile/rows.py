"""Work on rows: taking some, cutting stacks, summing, aggregating, thinning.

Must not know what is asked of a profile, nor any file format: ids in, tables out.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from itertools import accumulate, repeat

from .tables import (
    Builder,
    LabelIndex,
    StackIndex,
    Tables,
    ThreadIndex,
    attribute,
    cell_sized,
    empty_column,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any


def take_rows(
    tables: Tables, rows: Sequence[int], keep_stacks: Sequence[int] | None = None
) -> Tables:
    """Return tables with only the given sample rows, and nothing that they do not refer to.

    Callers for which `keep_stacks` (one truth value a stack) is false are cut off.
    """
    wanted = bytearray(len(tables.stack_frame))
    for stack in {tables.sample_stack[row] for row in rows}:
        while stack >= 0 and not wanted[stack] and (keep_stacks is None or keep_stacks[stack]):
            wanted[stack] = 1
            stack = tables.stack_parent[stack]
    builder = Builder()
    mapped = builder.add_stacks(tables, wanted)
    return restack(tables, builder, rows, [mapped[tables.sample_stack[row]] for row in rows])


def representative(tables: Tables, limit: int) -> Tables:
    """Return at most `limit` rows that stand for all, or the tables themselves if they have fewer.

    Rows are met at about equal distances of weight: one of twice the weight is met twice as often.
    What is met weighs, and counts, for what lies between. Shares are those of all rows but
    for the error of so many samples, total weight is the same but for rounding.
    """
    reached = [*accumulate(tables.sample_weight)]
    whole = reached[-1] if reached else 0
    if tables.rows <= limit or whole < limit:
        return tables
    met: dict[int, int] = {}
    for index in range(limit):
        # Not quite at equal distances: in step with nothing that repeats in a profile.
        row = bisect_right(reached, int((index + index * 0.6180339887 % 1) * whole / limit))
        met[row] = met.get(row, 0) + 1
    taken = take_rows(tables, [*met])
    weights, counts = empty_column("sample.weight"), empty_column("sample.count")
    for row, times in met.items():
        weight, count = tables.sample_weight[row], tables.sample_count[row]
        weights.append(times * whole // limit)
        counts.append(max(1, count * times * whole // (limit * weight)))
    return taken.same_stacks(sample_weight=weights, sample_count=counts)


def keep_below(tables: Tables, keep: Sequence[int]) -> Tables:
    """Return the samples in kept stacks (one truth value a stack), without callers not kept.

    How a program's own part is cut out of what runs it: the outermost kept frame becomes the root.
    """
    rows = [row for row, stack in enumerate(tables.sample_stack) if keep[stack]]
    return take_rows(tables, rows, keep_stacks=keep)


def restack(
    tables: Tables, builder: Builder, rows: Sequence[int], stacks: Sequence[StackIndex]
) -> Tables:
    """Return the given sample rows, each with another stack.

    Parameters
    ----------
    tables : Tables
        Where rows, threads and circumstances come from.
    builder : Builder
        Where the stacks are. What it holds beside them stays in the result.
    rows : sequence of int
        Sample rows of `tables`.
    stacks : sequence of StackIndex
        For each of `rows` its stack in `builder`.
    """
    here: dict[ThreadIndex, ThreadIndex] = {}
    for thread in sorted({tables.sample_thread[row] for row in rows}):
        here[thread] = builder.copy_thread(tables.threads[thread])
    t = builder.tables
    columns: dict[str, Any] = {
        "sample_stack": array("I", stacks),
        "sample_thread": array("I", [here[tables.sample_thread[row]] for row in rows]),
    }
    for name in ("time", "last", "count", "weight", "state"):
        source = tables.column("sample." + name)
        column = empty_column("sample." + name)
        column.extend([source[row] for row in rows])
        columns["sample_" + name] = column
    if len(tables.sample_label):
        labels = [tables.sample_label[row] for row in rows]
        mapped = builder.add_labels(tables, {*labels})
        # No columns of labels where no row has one.
        if len(t.label_parent):
            columns["sample_label"] = array("i", [mapped[label] for label in labels])
    meta = tables.meta
    if meta.difference is not None:
        sides = meta.difference.items()
        kept = {
            side: [here[row] for row in map(ThreadIndex, old) if row in here] for side, old in sides
        }
        meta = meta.but(difference=kept)
    return t.same_stacks(meta=meta, **columns)


def canonical_stacks(
    tables: Tables, frame_keys: Sequence[Any], seen: dict[tuple[int, Any], int] | None = None
) -> list[int]:
    """Give equal ids to stacks that are equal under `frame_keys`.

    Parameters
    ----------
    tables : Tables
    frame_keys : sequence
        One hashable a row of the frame table; frames with equal keys count as the same frame.
    seen : dict, optional
        Shared between calls to compare the stacks of several tables.

    Returns
    -------
    list of int
        One id a stack row. Without `seen`, ids grow from 0 without gaps and a caller's id is
        smaller than its callees'.
    """
    if seen is None:
        seen = {}
    ids: list[int] = []
    for parent, frame in zip(tables.stack_parent, tables.stack_frame):
        key = (ids[parent] if parent >= 0 else -1, frame_keys[frame])
        ids.append(seen.setdefault(key, len(seen)))
    return ids


def sum_by_stack(tables: Tables) -> tuple[list[int], list[int]]:
    """Return for each stack its self samples and self weight in ns, over all threads."""
    counts = [0] * len(tables.stack_frame)
    weights = list(counts)
    for stack, count, weight in zip(tables.sample_stack, tables.sample_count, tables.sample_weight):
        counts[stack] += count
        weights[stack] += weight
    return counts, weights


def sum_by_thread_and_stack(tables: Tables) -> Iterator[tuple[ThreadIndex, StackIndex, int, int]]:
    """Yield (thread, stack, samples, weight in ns), threads and stacks in the order of the tables.

    Labels are not told apart.

    One pass over the rows on flat lists where threads times stacks fit, as they nearly always do.
    """
    threads, stacks = len(tables.threads), len(tables.stack_frame)
    columns = zip(
        tables.sample_thread, tables.sample_stack, tables.sample_count, tables.sample_weight
    )
    if threads * stacks <= max(4_000_000, 4 * tables.rows):
        counts = [0] * (threads * stacks)
        weights = [0] * (threads * stacks)
        for thread, stack, count, weight in columns:
            cell = thread * stacks + stack
            counts[cell] += count
            weights[cell] += weight
        for cell, count in enumerate(counts):
            if count:
                which: Any = divmod(cell, stacks)
                yield (*which, count, weights[cell])
        return
    sums: dict[int, list[int]] = {}
    for thread, stack, count, weight in columns:
        entry = sums.setdefault(thread * stacks + stack, [0, 0])
        entry[0] += count
        entry[1] += weight
    for cell in sorted(sums):
        which = divmod(cell, stacks)
        yield (*which, *sums[cell])


class ThreadRows:
    """The sample rows of one thread, in order; `count` is None where each is one sample."""

    def __init__(self, stack: array[int], weight: array[int], count: array[int] | None) -> None:
        self.stack, self.weight, self.count = stack, weight, count


def rows_by_thread(tables: Tables) -> dict[ThreadIndex, ThreadRows]:
    """Return for each thread that has samples its rows, threads in the order of the table."""
    used = sorted(set(tables.sample_thread))
    runs = sum(tables.sample_count) != tables.rows
    if len(used) == 1:
        return {
            used[0]: ThreadRows(
                array("I", tables.sample_stack),
                array("q", tables.sample_weight),
                array("I", tables.sample_count) if runs else None,
            )
        }
    parts = {
        thread: ThreadRows(array("I"), array("q"), array("I") if runs else None) for thread in used
    }
    add_stack = {thread: part.stack.append for thread, part in parts.items()}
    add_weight = {thread: part.weight.append for thread, part in parts.items()}
    for thread, stack, weight in zip(
        tables.sample_thread, tables.sample_stack, tables.sample_weight
    ):
        add_stack[thread](stack)
        add_weight[thread](weight)
    if runs:
        for thread, count in zip(tables.sample_thread, tables.sample_count):
            column = parts[thread].count
            if column is not None:
                column.append(count)
    return parts


def aggregate(tables: Tables) -> Tables:
    """Return one row for each (thread, stack, labels): timestamps and states are given up."""
    labels: dict[str, Any] = {}
    if len(tables.sample_label):
        cells, of_cells = _labelled_cells(tables)
        labels["sample_label"] = array("i", of_cells)
    else:
        cells = [
            (thread, stack, *part)
            for thread, stack, count, weight in sum_by_thread_and_stack(tables)
            for part in cell_sized(count, weight)
        ]
    n = len(cells)
    return tables.same_stacks(
        sample_thread=array("I", [cell[0] for cell in cells]),
        sample_stack=array("I", [cell[1] for cell in cells]),
        sample_time=array("q", repeat(-1, n)),
        sample_last=array("q", repeat(-1, n)),
        sample_count=array("I", [cell[2] for cell in cells]),
        sample_weight=array("q", [cell[3] for cell in cells]),
        sample_state=array("B", bytes(n)),
        **labels,
    )


def _labelled_cells(
    tables: Tables,
) -> tuple[list[tuple[ThreadIndex, StackIndex, int, int]], list[LabelIndex]]:
    """Sums by (thread, stack, labels), as (thread, stack, samples, weight), and their labels."""
    sums: dict[tuple[ThreadIndex, StackIndex, LabelIndex], list[int]] = {}
    for *key, count, weight in zip(
        tables.sample_thread,
        tables.sample_stack,
        tables.sample_label,
        tables.sample_count,
        tables.sample_weight,
    ):
        entry = sums.setdefault(tuple(key), [0, 0])  # type: ignore[arg-type]
        entry[0] += count
        entry[1] += weight
    cells, labels = [], []
    for thread, stack, label in sorted(sums):
        for part in cell_sized(*sums[thread, stack, label]):
            cells.append((thread, stack, *part))
            labels.append(label)
    return cells, labels


def keep_samples(tables: Tables, keep: Sequence[bool]) -> Tables:
    """Keep single samples, given one bool for each in order, cutting runs where needed."""
    pieces = []
    position = 0
    for row, count in enumerate(tables.sample_count):
        begin = None
        for offset in range(count + 1):
            if offset < count and keep[position + offset]:
                begin = offset if begin is None else begin
            elif begin is not None:
                pieces.append((row, begin, offset))
                begin = None
        position += count
    return cut_runs(tables, pieces)


def cut_runs(tables: Tables, pieces: Sequence[tuple[int, int, int]]) -> Tables:
    """Keep samples `begin` to `end` of each (row, begin, end)."""
    taken = take_rows(tables, [row for row, _, _ in pieces])
    times, lasts = array("q", taken.sample_time), array("q", taken.sample_last)
    counts, weights = array("I", taken.sample_count), array("q", taken.sample_weight)
    for index, (_, begin, end) in enumerate(pieces):
        count = counts[index]
        if begin == 0 and end == count:
            continue
        weight, first, span = weights[index], times[index], lasts[index] - times[index]
        counts[index] = end - begin
        weights[index] = weight * end // count - weight * begin // count
        if first >= 0:
            times[index] = first + span * begin // max(count - 1, 1)
            lasts[index] = first + span * (end - 1) // max(count - 1, 1)
    return taken.same_stacks(
        sample_time=times, sample_last=lasts, sample_count=counts, sample_weight=weights
    )


# Where more of the rows than this are distinct, merging them takes long and saves next to nothing.
_WORTH_MERGING = 0.9
_STATE_VALUES = 256  # what a sample.state, one byte, can be


def thin(tables: Tables, limit: int) -> Tables:
    """Merge equal stacks that are close to each other until about `limit` rows are left.

    The rows are divided into parts of equal length, the shortest with which the limit is met;
    within one, each (thread, stack, state, labels) becomes one row. Counts and weights are exact.
    Within a part a thread's rows are laid out one after the other in the order in which they first
    occurred, each as long as its share of the part's samples, so that they do not overlap. A
    profile with more than `limit` distinct (thread, stack, state, labels) keeps them all, and comes
    back as it is where nearly all of its rows differ.
    """
    if tables.rows <= limit:
        return tables
    stacks = len(tables.stack_frame)
    # One number a row for what may be merged: (thread, stack, state, labels).
    cells = (
        (thread * stacks + stack) * _STATE_VALUES + state
        for thread, stack, state in zip(
            tables.sample_thread, tables.sample_stack, tables.sample_state
        )
    )
    sets = _label_values(tables)
    if sets > 1:
        cells = (cell * sets + label + 1 for cell, label in zip(cells, tables.sample_label))
    keys: Sequence[int] = array("Q", cells) if _fit(tables, sets) else [*cells]
    if len(set(keys)) > _WORTH_MERGING * tables.rows:
        return tables
    length = 2
    while length < tables.rows:
        # An estimate that is a little low would cost a merge that is thrown away.
        if _estimated_rows(keys, length) <= 0.98 * limit:
            thinned = _merge_parts(tables, keys, length)
            if thinned.rows <= limit:
                return thinned
        length = max(length + 1, length * 9 // 8)
    return _merge_parts(tables, keys, tables.rows)


def _label_values(tables: Tables) -> int:
    """What a row's labels can be: none, or one of the sets."""
    return len(tables.label_parent) + 1 if len(tables.sample_label) else 1


def _fit(tables: Tables, sets: int) -> bool:
    """Whether a number for all that rows differ in has 64 bits."""
    return len(tables.threads) * len(tables.stack_frame) * _STATE_VALUES * sets < 2**64


_ESTIMATED_FROM = 16_384  # rows


def _estimated_rows(keys: Sequence[int], length: int) -> float:
    """Rows left after merging parts of `length` rows, estimated from some of the parts."""
    parts = -(-len(keys) // length)
    looked_at = min(parts, max(1, _ESTIMATED_FROM // length))
    distinct = 0
    for i in range(looked_at):
        # Golden ratio: spread evenly, and in step with nothing that repeats in a profile.
        part = int(i * 0.6180339887 % 1 * parts)
        distinct += len(set(keys[part * length : (part + 1) * length]))
    return distinct * parts / looked_at


def _merge_parts(tables: Tables, keys: Sequence[int], length: int) -> Tables:
    merged = tables.same_stacks(
        **{
            attribute(name): empty_column(name)
            for name in tables.column_types
            if name.startswith("sample.")
        }
    )
    t: Any = merged
    stacks, sets = len(tables.stack_frame), _label_values(tables)
    for start in range(0, tables.rows, length):
        part = slice(start, start + length)
        threads, times = tables.sample_thread[part], tables.sample_time[part]
        weights = dict.fromkeys(keys[part], 0)
        for key, weight in zip(keys[part], tables.sample_weight[part]):
            weights[key] += weight
        counts = dict.fromkeys(weights, 0)
        for key, count in zip(keys[part], tables.sample_count[part]):
            counts[key] += count
        samples: dict[int, int] = {}
        for key, count in counts.items():
            thread = key // sets // _STATE_VALUES // stacks
            samples[thread] = samples.get(thread, 0) + count
        # Within a thread time only grows: its first and last rows say how long the part is. Where
        # the keeping of timestamps ended within the part, it has none.
        timed = min(times) >= 0
        begin: dict[int, int] = dict(zip(threads[::-1], times[::-1]))
        end: dict[int, int] = dict(zip(threads, tables.sample_last[part]))
        before = dict.fromkeys(begin, 0)
        for key, total in counts.items():
            cell, label = divmod(key, sets)
            cell, state = divmod(cell, _STATE_VALUES)
            thread, stack = divmod(cell, stacks)
            first, span, whole = begin[thread], end[thread] - begin[thread], samples[thread]
            for count, weight in cell_sized(total, weights[key]):
                t.sample_thread.append(thread)
                t.sample_stack.append(stack)
                t.sample_state.append(state)
                if sets > 1:
                    t.sample_label.append(label - 1)
                t.sample_count.append(count)
                t.sample_weight.append(weight)
                t.sample_time.append(first + span * before[thread] // whole if timed else -1)
                before[thread] += count
                t.sample_last.append(first + span * before[thread] // whole if timed else -1)
    return merged
