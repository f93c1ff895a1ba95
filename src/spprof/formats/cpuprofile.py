"""V8's CPU profile, which VS Code opens beside the code, and Chrome's and Edge's tools read.

Must not know any other format. It holds one sequence of samples: threads follow one another, each
below a node of its own.
"""

from __future__ import annotations

import json
from array import array
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from . import _labels as labels
from ._meta import kept_meta

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._profile.tables import FuncIndex, StackIndex, Tables, ThreadIndex

_CHUNK = 8192
_ROOT = 1


def dump(tables: Tables, file: BinaryIO) -> None:
    """Write nodes and samples in pieces: times in microseconds, with all their digits."""
    rows = sorted(range(len(tables.sample_thread)), key=tables.sample_thread.__getitem__)
    tree = _Tree(tables)
    samples = array("I", [tree.sampled(row) for row in rows])
    weights = array("q", [tables.sample_weight[row] for row in rows])
    # A sample lasts until the next one; the end says how long the last one does.
    whole = sum(weights)
    head = {
        "nodes": tree.finished(),
        "startTime": 0,
        "endTime": _microseconds(whole),
        "spprof": kept_meta(tables.meta),
    }
    file.write(json.dumps(head, separators=(",", ":"))[:-1].encode("ascii"))
    file.write(b',"samples":')
    _write_list(file, samples, str)
    file.write(b',"timeDeltas":')
    _write_list(file, array("q", [0, *weights][: len(samples)]), lambda ns: str(_microseconds(ns)))
    file.write(b"}")


class _Tree:
    """Functions below their callers, each thread below a node of its own where there are several.

    Lines are not nodes: VS Code takes them from the ticks of a node.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.nodes: list[dict[str, Any]] = []
        self._children: dict[tuple[int, object], int] = {}
        self._stacks: dict[tuple[int, StackIndex], int] = {}
        self._ticks: dict[int, dict[int, int]] = {}
        self._node(0, None, {"functionName": "(root)", **_place("", 0)})
        self._several = len(set(tables.sample_thread)) > 1
        self._processes = len(labels.processes(tables)) > 1

    def sampled(self, row: int) -> int:
        """Return the node of a row's innermost function, counting its samples."""
        t = self._tables
        stack, count = t.sample_stack[row], t.sample_count[row]
        number = self._of_stack(self._of_thread(t.sample_thread[row]), stack)
        node = self.nodes[number - 1]
        node["hitCount"] += count
        line = t.frame_line[t.stack_frame[stack]] if stack >= 0 else 0
        if line:
            ticks = self._ticks.setdefault(number, {})
            ticks[line] = ticks.get(line, 0) + count
        return number

    def finished(self) -> list[dict[str, Any]]:
        """Return the nodes, with the lines that each was on."""
        for number, ticks in self._ticks.items():
            self.nodes[number - 1]["positionTicks"] = [
                {"line": line, "ticks": count} for line, count in sorted(ticks.items())
            ]
        return self.nodes

    def _of_thread(self, thread: ThreadIndex) -> int:
        if not self._several:
            return _ROOT
        label = labels.thread_label(self._tables.threads[thread], with_process=self._processes)
        return self._node(_ROOT, ("thread", thread), {"functionName": label, **_place("", 0)})

    def _of_stack(self, top: int, stack: StackIndex) -> int:
        t = self._tables
        missing = []
        while stack >= 0 and (top, stack) not in self._stacks:
            missing.append(stack)
            stack = t.stack_parent[stack]
        node = top if stack < 0 else self._stacks[top, stack]
        for each in reversed(missing):
            frame = t.stack_frame[each]
            node = self._node(node, t.frame_func[frame], self._function(t.frame_func[frame]))
            self._stacks[top, each] = node
        return node

    def _function(self, func: FuncIndex) -> dict[str, Any]:
        t = self._tables
        name, file = t.strings[t.func_name[func]], t.strings[t.func_file[func]]
        return {"functionName": name, **_place(file, t.func_line[func])}

    def _node(self, parent: int, key: object, call: dict[str, Any]) -> int:
        number = self._children.get((parent, key))
        if number is None:
            number = self._children[parent, key] = len(self.nodes) + 1
            node = {"id": number, "callFrame": call, "hitCount": 0, "children": []}
            self.nodes.append(node)
            if parent:
                self.nodes[parent - 1]["children"].append(number)
        return number


def _place(file: str, line: int) -> dict[str, Any]:
    """File and first line, which count from 0; -1 where there is none."""
    url = "file://" + quote(file, errors="surrogatepass") if file.startswith("/") else file
    return {"scriptId": "0", "url": url, "lineNumber": line - 1, "columnNumber": -1}


def _microseconds(ns: int) -> int | float:
    return ns // 1000 if ns % 1000 == 0 else ns / 1000


def _write_list(file: BinaryIO, values: array[int], text: Callable[[int], str]) -> None:
    file.write(b"[")
    for start in range(0, len(values), _CHUNK):
        chunk = ",".join(map(text, values[start : start + _CHUNK]))
        file.write((chunk if not start else "," + chunk).encode("ascii"))
    file.write(b"]")
