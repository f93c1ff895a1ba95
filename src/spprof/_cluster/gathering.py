"""One profile of what workers sent: their clocks set to ours, their threads and processes named.

Must not know how workers are reached.
"""

from __future__ import annotations

import zlib

from .._profile.processes import process_row
from .._profile.tables import Tables
from .._session.children_profile import merged
from ..formats import container
from .clocks import SAME, Offset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._profile.tables import ProcessRow

# Clocks that are less far apart need no word.
_TELLING_ERROR_NS = 1_000_000


class Part:
    """What a worker sent.

    Parameters
    ----------
    worker : str
    sent : dict
        See `there.end`.
    offset : Offset
        Of its clock.
    """

    def __init__(self, worker: str, sent: dict[str, Any], offset: Offset = SAME) -> None:
        self.worker, self.sent, self.offset = worker, sent, offset


def together(
    own: Tables, own_row: ProcessRow, start_ns: int, host: str, parts: list[Part]
) -> Tables:
    """Samples of this process and of workers in one set of tables.

    Parameters
    ----------
    own : Tables
    own_row : ProcessRow
        This process among the processes, where `own` has none.
    start_ns : int
        When the session began here, on this process's clock.
    host : str
        This machine.
    """
    rows: list[ProcessRow] = [*(own.meta.processes or (own_row,))]
    notes: list[str] = []
    others: list[tuple[Tables, int]] = []
    for part in parts:
        tables = container.decode(zlib.decompress(part.sent["profile"]))
        shift = part.sent["start_ns"] + part.offset.ns - start_ns
        where = "" if part.sent["host"] == host else part.sent["host"]
        _name_threads(tables, part.worker, part.sent["pid"], where)
        rows.append(_row(part, tables, shift, where))
        for process in tables.meta.processes[1:]:
            end_ns = process["end_ns"]
            moved: Any = {
                **process,
                "host": where,
                "start_ns": process["start_ns"] + shift,
                "end_ns": None if end_ns is None else end_ns + shift,
            }
            rows.append(moved)
        notes += [f"{note} ({part.worker})" for note in tables.meta.notes]
        others.append((tables, shift))
    worst = max((part.offset.error_ns for part in parts), default=0)
    if worst > _TELLING_ERROR_NS:
        notes.append(
            f"the clocks of other machines are known to {worst / 1e6:.1f} ms: their samples may be "
            "so far from where they belong"
        )
    tables = merged(own, others)
    return tables.same_stacks(meta=tables.meta.with_notes(*notes).but(processes=tuple(rows)))


def _name_threads(tables: Tables, worker: str, pid: int, host: str) -> None:
    for thread in tables.threads:
        thread["host"] = host
        if thread["pid"] == pid:
            main = thread["tid"] == pid
            thread["name"] = worker if main else f"{worker}: {thread['name']}"
        else:
            thread["name"] = f"{worker}: {thread['name']}"


def _row(part: Part, tables: Tables, shift: int, host: str) -> ProcessRow:
    sent = part.sent
    threads = {row for row, thread in enumerate(tables.threads) if thread["pid"] == sent["pid"]}
    weights = zip(tables.sample_thread, tables.sample_weight)
    return process_row(
        sent["pid"],
        sent["ppid"],
        sent["command"],
        host=host,
        name=part.worker,
        start_ns=shift,
        cpu_ns=sent["cpu_ns"],
        profile_ns=sum(weight for thread, weight in weights if thread in threads),
    )
