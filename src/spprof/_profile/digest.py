"""A profile in a form for programs and agents: plain values under stable keys, and as Markdown.

Must not know any file format, nor the terminal. docs/USAGE.md lists the keys.
"""

from __future__ import annotations

from typing import Any

from .confidence import LEVEL, is_wide
from .findings import findings, percent
from .folding import folded
from .gil_holders import waits_for_whom
from .names import short
from .own_code import only_own
from .queries import rate_hz, sample_count, threads, top
from .tables import Tables
from .text import notes
from .words import format_ns, short_place, shown

# Grows when a key changes its meaning or goes; new keys may come at any time.
VERSION = 1


def digest(
    tables: Tables,
    n: int | None = 20,
    by: str = "self",
    *,
    lines: bool = False,
    all_frames: bool = False,
    mine: bool = False,
) -> dict[str, Any]:
    """Circumstances, findings, functions, threads and notes; for `json.dumps`.

    Parameters
    ----------
    tables : Tables
    n, by, lines, all_frames, mine
        As for `Profile.top`.
    """
    meta = tables.meta
    shown_as = tables if all_frames else folded(tables)
    if mine:
        shown_as = only_own(shown_as)
    return {
        "version": VERSION,
        "mode": meta.mode,
        "start_time": meta.start_time,
        "duration_ns": meta.duration_ns,
        "interval_ns": meta.interval_ns,
        "weight_ns": sum(tables.sample_weight),
        "samples": sample_count(tables),
        "rate_hz": rate_hz(tables),
        "dropped": meta.dropped_count,
        "python_version": meta.python_version,
        "confidence": LEVEL,
        "findings": [finding.as_dict() for finding in findings(tables)],
        "functions": [
            {
                "function": entry.function_name,
                "file": entry.filename,
                "line": entry.lineno,
                "native": entry.is_native,
                "self_ns": entry.self_ns,
                "total_ns": entry.total_ns,
                "self_samples": entry.self_samples,
                "total_samples": entry.total_samples,
                "self_share": entry.self_share,
                "total_share": entry.total_share,
                "self_interval": [*entry.self_interval],
                "total_interval": [*entry.total_interval],
            }
            for entry in top(shown_as, n, by, lines=lines)
        ],
        "threads": [
            {
                "id": thread.thread_id,
                "name": thread.thread_name,
                "samples": thread.sample_count,
                "weight_ns": thread.weight_ns,
                "gil_share": thread.gil_share,
            }
            for thread in threads(tables)
        ],
        "gil_waits": [
            {
                "waiter": wait.waiter,
                "waiter_id": wait.waiter_id,
                "holder": wait.holder,
                "holder_id": wait.holder_id,
                "function": wait.function,
                "ns": wait.ns,
                "stack": [str(frame) for frame in wait.stack],
            }
            for wait in waits_for_whom(shown_as)[:n]
        ],
        "notes": [*meta.notes],
    }


def markdown(tables: Tables, found: dict[str, Any]) -> str:
    """What `digest` found, for people and for those who read Markdown."""
    parts = ["# Profile", ""]
    parts += [f"- {_escaped(finding['text'])}" for finding in found["findings"]]
    parts += ["", "| self | | total | | function | |", "| --: | --: | --: | --: | --- | --- |"]
    for entry in found["functions"]:
        name = shown(short(entry["function"], entry["native"]))
        cells = [
            percent_of(entry["self_share"], entry["self_interval"]),
            format_ns(entry["self_ns"]),
            percent_of(entry["total_share"], entry["total_interval"]),
            format_ns(entry["total_ns"]),
            _code(name),
            _escaped(short_place(entry["file"], entry["line"])),
        ]
        parts.append(f"| {' | '.join(cells)} |")
    sampled = [thread for thread in found["threads"] if thread["samples"]]
    if len(sampled) > 1:
        parts += ["", "| thread | time | samples | held the GIL |", "| --- | --: | --: | --: |"]
        for thread in sampled:
            gil = "" if thread["gil_share"] is None else f"{thread['gil_share']:.0%}"
            parts.append(
                f"| {_escaped(shown(thread['name']))} | {format_ns(thread['weight_ns'])} "
                f"| {thread['samples']} | {gil} |"
            )
    said = notes(tables)
    if said:
        parts += ["", *(f"- note: {_escaped(note)}" for note in said)]
    return "\n".join(parts)


def percent_of(share: float, interval: list[float]) -> str:
    """A share with a decimal, and its interval where that is wide."""
    within = interval[0], interval[1]
    return percent(share, within) if is_wide(share, within) else f"{share:.1%}"


def _code(text: str) -> str:
    """As code within a table; a backtick or a bar must not end it."""
    return "`" + text.replace("`", "'").replace("|", "\\|") + "`"


def _escaped(text: str) -> str:
    for mark in ("\\", "`", "*", "_", "<", "[", "|"):
        text = text.replace(mark, "\\" + mark)
    return text
