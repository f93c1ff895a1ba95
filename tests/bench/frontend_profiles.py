"""Owns made-up profiles for the front end's tests and benchmark: containers written by hand.

Must not use spprof itself, so that what reads a container and what writes it are checked apart.
"""

from __future__ import annotations

import array
import json
import random
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Function = tuple[str, str, int, bool]
"""Name, file, first line, native."""

Call = tuple[Function, int]
"""Function and executed line."""


@dataclass
class ProfileBuilder:
    """Gathers samples given as call lists, root first, and writes the container of them."""

    interval_ns: int = 10_000_000
    mode: str = "cpu"
    dropped: int = 0
    notes: list[str] = field(default_factory=list)
    strings: dict[str, int] = field(default_factory=dict)
    functions: dict[Function, int] = field(default_factory=dict)
    frames: dict[tuple[int, int], int] = field(default_factory=dict)
    stacks: dict[tuple[int, int], int] = field(default_factory=dict)
    threads: list[str] = field(default_factory=list)
    thread_details: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: list[tuple[int, int, int, int, int, int, int]] = field(default_factory=list)
    header: dict[str, Any] = field(default_factory=dict)
    end_ns: int = 0

    def string(self, text: str) -> int:
        return self.strings.setdefault(text, len(self.strings))

    def stack(self, calls: Sequence[Call]) -> int:
        parent = -1
        for function, line in calls:
            self.string(function[0])
            self.string(function[1])
            func = self.functions.setdefault(function, len(self.functions))
            frame = self.frames.setdefault((func, line), len(self.frames))
            parent = self.stacks.setdefault((parent, frame), len(self.stacks))
        return parent

    def thread(self, name: str) -> int:
        if name not in self.threads:
            self.threads.append(name)
        return self.threads.index(name)

    def sample(
        self,
        thread: str,
        calls: Sequence[Call],
        time_ns: int,
        weight_ns: int,
        *,
        count: int = 1,
        last_ns: int | None = None,
        state: int = 0,
    ) -> None:
        last = time_ns if last_ns is None else last_ns
        self.samples.append(
            (self.thread(thread), self.stack(calls), time_ns, last, count, weight_ns, state)
        )
        self.end_ns = max(self.end_ns, last)

    def encode(self) -> bytes:
        texts = [text.encode() for text in self.strings]
        offsets = [0]
        for text in texts:
            offsets.append(offsets[-1] + len(text))
        functions = list(self.functions)
        frames = list(self.frames)
        stacks = list(self.stacks)
        rows = self.samples
        columns: list[tuple[str, str, bytes, int]] = []

        def column(name: str, kind: str, values: Sequence[int]) -> None:
            code = {"u8": "B", "u32": "I", "i32": "i", "u64": "Q", "i64": "q"}[kind]
            columns.append((name, kind, array.array(code, values).tobytes(), len(values)))

        joined = b"".join(texts)
        columns.append(("strings.bytes", "u8", joined, len(joined)))
        column("strings.offsets", "u32", offsets)
        column("func.name", "u32", [self.strings[f[0]] for f in functions])
        column("func.file", "u32", [self.strings[f[1]] for f in functions])
        column("func.line", "i32", [f[2] for f in functions])
        column("func.flags", "u8", [int(f[3]) for f in functions])
        column("frame.func", "u32", [f[0] for f in frames])
        column("frame.line", "i32", [f[1] for f in frames])
        column("frame.address", "u64", [0] * len(frames))
        column("stack.parent", "i32", [s[0] for s in stacks])
        column("stack.frame", "u32", [s[1] for s in stacks])
        for i, (name, kind) in enumerate(
            [
                ("sample.thread", "u32"),
                ("sample.stack", "u32"),
                ("sample.time", "i64"),
                ("sample.last", "i64"),
                ("sample.count", "u32"),
                ("sample.weight", "i64"),
                ("sample.state", "u8"),
            ]
        ):
            column(name, kind, [row[i] for row in rows])
        meta: dict[str, Any] = {
            "version": 1,
            "start_time": "2026-01-01T10:00:00+00:00",
            "end_time": "2026-01-01T10:00:02+00:00",
            "duration_ns": self.end_ns,
            "interval_ns": self.interval_ns,
            "mode": self.mode,
            "engine": "timer",
            "weights": "measured",
            "dropped_count": self.dropped,
            "python_version": "3.11.7",
            "platform": "Linux-x86_64",
            "notes": self.notes,
            "modules": [],
            "timestamps_until_ns": None,
        }
        threads = [
            {
                "tid": 100 + i,
                "name": name,
                "pid": 1,
                "host": "",
                **self.thread_details.get(name, {}),
            }
            for i, name in enumerate(self.threads)
        ]
        entries = [
            {"name": name, "type": kind, "offset": 0, "length": length}
            for name, kind, _, length in columns
        ]
        header = b""
        # Offsets stand in the header and depend on its length: settle them in rounds.
        for _ in range(8):
            before = header
            header = json.dumps(
                {"meta": meta, **self.header, "threads": threads, "columns": entries}
            ).encode()
            at = -(-(16 + len(header)) // 8) * 8
            for entry, (_, _, raw, _) in zip(entries, columns):
                entry["offset"] = at
                at += -(-len(raw) // 8) * 8
            if header == before:
                break
        body = bytearray(b"SPPROF\r\n" + struct.pack("<II", 1, len(header)) + header)
        for _, _, raw, _ in columns:
            body += b"\0" * (-len(body) % 8)
            body += raw
        body += b"\0" * (-len(body) % 8)
        return bytes(body) + struct.pack("<I", zlib.crc32(body))


SITE = "/opt/venv/lib/python3.11/site-packages/"
STDLIB = "/usr/lib/python3.11/"


def _function(name: str, file: str, line: int, native: bool = False) -> Function:
    return (name, file, line, native)


def demo() -> bytes:
    """The container of `demo_builder`."""
    return demo_builder().encode()


def demo_builder() -> ProfileBuilder:
    """A cell that loads a table, groups it and fits a model, with a worker thread beside it."""
    cell = _function("<module>", "In [3]", 1)
    load = _function("load_orders", "In [2]", 4)
    clean = _function("clean_names", "In [2]", 19)
    read = _function("read_csv", SITE + "pandas/io/parsers/readers.py", 868)
    parser = _function("TextFileReader.read", SITE + "pandas/io/parsers/readers.py", 1778)
    wrapper = _function("CParserWrapper.read", SITE + "pandas/io/parsers/c_parser_wrapper.py", 222)
    tokenise = _function(
        "tokenize_bytes", SITE + "pandas/_libs/parsers.cpython-311-x86_64-linux-gnu.so", 0, True
    )
    frame_init = _function("DataFrame.__init__", SITE + "pandas/core/frame.py", 694)
    group = _function("DataFrameGroupBy.agg", SITE + "pandas/core/groupby/generic.py", 1389)
    cython = _function("WrappedCythonOp.cython_operation", SITE + "pandas/core/groupby/ops.py", 544)
    group_mean = _function(
        "group_mean", SITE + "pandas/_libs/groupby.cpython-311-x86_64-linux-gnu.so", 0, True
    )
    fit = _function("RandomForestRegressor.fit", SITE + "sklearn/ensemble/_forest.py", 345)
    parallel = _function("Parallel.__call__", SITE + "sklearn/utils/parallel.py", 54)
    trees = _function("_parallel_build_trees", SITE + "sklearn/ensemble/_forest.py", 155)
    tree_fit = _function("BaseDecisionTree._fit", SITE + "sklearn/tree/_classes.py", 229)
    build = _function(
        "DepthFirstTreeBuilder.build",
        SITE + "sklearn/tree/_tree.cpython-311-x86_64-linux-gnu.so",
        0,
        True,
    )
    split = _function(
        "BestSplitter.node_split",
        SITE + "sklearn/tree/_splitter.cpython-311-x86_64-linux-gnu.so",
        0,
        True,
    )
    sort = _function(
        "introsort", SITE + "sklearn/tree/_splitter.cpython-311-x86_64-linux-gnu.so", 0, True
    )
    check = _function("check_array", SITE + "sklearn/utils/validation.py", 675)
    fib = _function("fib", "/home/ada/project/pricing.py", 11)
    price = _function("price_all", "/home/ada/project/pricing.py", 42)
    dumps = _function("dumps", STDLIB + "json/__init__.py", 183)
    encode = _function("JSONEncoder.encode", STDLIB + "json/encoder.py", 183)
    bootstrap = _function("Thread._bootstrap", STDLIB + "threading.py", 995)
    run = _function("Thread.run", STDLIB + "threading.py", 964)
    worker = _function("upload_worker", "/home/ada/project/upload.py", 8)
    wait = _function("Queue.get", STDLIB + "queue.py", 154)
    acquire = _function("Condition.wait", STDLIB + "threading.py", 288)
    compress = _function("compress", "/usr/lib/x86_64-linux-gnu/libz.so.1.2.13", 0, True)

    builder = ProfileBuilder(dropped=3, mode="wall")
    rng = random.Random(7)
    step = 10_000_000
    now = 0
    loading: list[Call] = [(cell, 2), (load, 6)]
    reading: list[Call] = [*loading, (read, 948), (parser, 1810), (wrapper, 230)]
    fitting: list[Call] = [
        (cell, 7),
        (fit, 456),
        (parallel, 67),
        (trees, 189),
        (tree_fit, 472),
    ]
    plan: list[tuple[list[Call], int]] = [
        ([*reading, (tokenise, 0)], 34),
        (reading, 4),
        ([*loading, (frame_init, 867)], 7),
        ([*loading, (clean, 21)], 9),
        ([*loading, (clean, 23)], 5),
        ([(cell, 4), (group, 1432), (cython, 580), (group_mean, 0)], 26),
        ([(cell, 4), (group, 1432), (cython, 591)], 6),
        ([(cell, 4), (group, 1440)], 2),
        ([(cell, 7), (fit, 360), (check, 1012)], 5),
    ]
    for _ in range(12):
        plan += [
            ([*fitting, (build, 0), (split, 0), (sort, 0)], rng.randint(3, 7)),
            ([*fitting, (build, 0), (split, 0)], rng.randint(4, 8)),
            ([*fitting, (build, 0)], rng.randint(1, 3)),
        ]
    for depth in range(2, 9):
        plan.append(([(cell, 9), (price, 47), *[(fib, 13)] * depth], 3))
    plan.append(([(cell, 11), (dumps, 231), (encode, 200)], 8))
    for calls, count in plan:
        builder.sample(
            "MainThread",
            calls,
            now + step,
            count * step,
            count=count,
            last_ns=now + count * step,
            state=2 << 2,
        )
        now += count * step
    beside: list[Call] = [(bootstrap, 1002), (run, 982), (worker, 12)]
    at = 0
    while at < now:
        idle = rng.randint(12, 40)
        builder.sample(
            "upload-0",
            [*beside, (wait, 171), (acquire, 320)],
            at + step,
            idle * step,
            count=idle,
            last_ns=at + idle * step,
            state=1 | 1 << 2,
        )
        at += idle * step
        busy = rng.randint(2, 9)
        builder.sample(
            "upload-0",
            [*beside, (compress, 0)],
            at + step,
            busy * step,
            count=busy,
            last_ns=at + busy * step,
            state=0 | 1 << 2,
        )
        at += busy * step
    return builder


def synthetic(nodes: int, seed: int = 1) -> bytes:
    """A random call tree of exactly `nodes` call paths, some wide, some 60 deep.

    Every path has samples of its own; file and function names are as long as real ones are.
    """
    rng = random.Random(seed)
    functions = [
        _function(
            f"Component{i % 97}.method_{i}",
            f"{SITE}package_{i % 41}/module_{i % 397}.py",
            1 + i % 900,
        )
        for i in range(max(50, min(4000, nodes // 5)))
    ]
    builder = ProfileBuilder(interval_ns=1_000_000)
    paths: list[list[Call]] = []
    seen: set[tuple[str, ...]] = set()
    while len(seen) < nodes:
        base = paths[rng.randrange(len(paths))] if paths and rng.random() < 0.97 else []
        if len(base) >= 60:
            base = base[: rng.randrange(60)]
        function = functions[int(len(functions) * rng.random() ** 2)]
        path = [*base, (function, function[2] + 3)]
        key = tuple(call[0][0] for call in path)
        if key in seen:
            continue
        seen.add(key)
        paths.append(path)
    now = 0
    for path in rng.sample(paths, len(paths)):
        weight = int(1_000_000 * (0.2 + rng.paretovariate(1.5)))
        now += weight
        builder.sample("MainThread", path, now, weight)
    return builder.encode()
