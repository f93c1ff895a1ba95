"""V8's CPU profiles as VS Code reads them: one tree, one sequence of samples, lines as ticks."""

from __future__ import annotations

import json
from typing import Any

from spprof._profile.tables import Builder
from spprof.formats import FORMATS


def document_of(*rows: tuple[str, str, int]) -> dict[str, Any]:
    """Rows of a thread, functions from the outermost with their lines (``a:1>b:2``), and ms."""
    builder = Builder()
    threads = {name: builder.thread(number, name) for number, name in enumerate(("t", "u"), 1)}
    for thread, functions, ms in rows:
        frames = []
        for text in functions.split(">"):
            name, _, line = text.partition(":")
            frames.append(builder.frame(builder.func(name, "/home/me/ü.py", 10), int(line)))
        builder.row(threads[thread], builder.stack_of(frames), weight=ms * 1_000_000)
    return json.loads(FORMATS["cpuprofile"].dumps(builder.tables))


def paths_of(document: dict[str, Any]) -> dict[int, str]:
    nodes = {node["id"]: node for node in document["nodes"]}
    paths = {1: ""}
    for node in document["nodes"]:
        for child in node["children"]:
            paths[child] = f"{paths[node['id']]}/{nodes[child]['callFrame']['functionName']}"
    assert paths.keys() == nodes.keys()
    return paths


def test_lines_are_ticks_of_one_node() -> None:
    document = document_of(("t", "a:11>b:12", 3), ("t", "a:11>b:13", 4), ("t", "a:14", 5))
    paths = paths_of(document)
    assert sorted(paths.values()) == ["", "/a", "/a/b"]
    (inner,) = (node for node in document["nodes"] if paths[node["id"]] == "/a/b")
    assert inner["positionTicks"] == [{"line": 12, "ticks": 1}, {"line": 13, "ticks": 1}]
    assert inner["hitCount"] == 2
    call = inner["callFrame"]
    # Lines of V8 count from 0, ticks from 1.
    assert (call["url"], call["lineNumber"]) == ("file:///home/me/%C3%BC.py", 9)
    assert [paths[sample] for sample in document["samples"]] == ["/a/b", "/a/b", "/a"]
    assert document["timeDeltas"] == [0, 3000, 4000]
    assert document["endTime"] - document["startTime"] == 12_000


def test_threads_follow_one_another_below_their_names() -> None:
    document = document_of(("t", "a:11", 3), ("u", "a:11", 4), ("t", "a:11", 5))
    paths = paths_of(document)
    assert [paths[sample] for sample in document["samples"]] == ["/t (1)/a", "/t (1)/a", "/u (2)/a"]
    assert document["timeDeltas"] == [0, 3000, 5000]


def test_without_samples_there_is_the_root() -> None:
    document = document_of()
    assert paths_of(document) == {1: ""}
    assert document["samples"] == document["timeDeltas"] == []
