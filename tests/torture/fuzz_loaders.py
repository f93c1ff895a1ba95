"""Every loader under a fuzzer that sees which lines an input reaches: atheris, on libFuzzer.

    python tests/torture/fuzz_loaders.py --seconds 300
    python tests/torture/fuzz_loaders.py --corpus FOLDER    goes on from there
    python tests/torture/fuzz_loaders.py --again FILE...      what became of inputs that failed

An input is one byte that chooses the loader, and a file for it. It must give a profile, which must
answer every question and be written in every format, or a FormatError; within ten seconds (a
thousandth is usual) and two GiB. Exit status 1 where one did not; the file that did it is kept.
By hand, as hours find more than minutes; `tests/python/formats/test_fuzz.py` is what every change
goes through. Needs `pip install atheris` (CPython 3.11 and later), in which spprof is importable.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import itertools
import marshal
import pstats
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

LONGEST_INPUT = 8192
OTHER_TOOLS = Path(__file__).resolve().parents[1] / "examples" / "other_tools"
LONGEST_S = 10  # beside other work, with every line watched
MOST_MB = 2048

# What chooses the loader; None is by content. The container has a checksum that a fuzzer would
# rarely get past: it is made right for half of them, as a writer with a bug would make it.
KINDS = (None, "speedscope", "collapsed", "pprof", "gecko", "spprof", "spprof sealed")

# What files of these formats are made of, so that it need not be found letter by letter.
WORDS = (
    *("shared", "frames", "name", "file", "line", "col", "profiles", "type", "sampled", "evented"),
    *("unit", "seconds", "nanoseconds", "none", "startValue", "endValue", "samples", "weights"),
    *("events", "frame", "at", "O", "C", "spprof", "thread", "tid", "pid", "host", "start_time"),
    *("end_time", "duration_ns", "interval_ns", "notes", "processes", "modules", "mode", "wall"),
    *("stackTable", "funcTable", "frameTable", "HCAT", "difference", "labels", "regions", "waits"),
    *("NaN", "Infinity", "1e308", "-1", "9223372036854775807", "null", "true", "{", "[", "]", "}"),
    *("thread (1): ", "[python]", " (a.py:1)", "\\x0a", "\\x1f\\x8b", "SPPROF"),
)


def seeds() -> list[bytes]:
    """Inputs to begin with: a small profile in every format, and files of other tools."""
    from spprof import Frame, Profile, Sample
    from spprof.formats import FORMATS

    day = datetime(2026, 5, 1, tzinfo=timezone.utc)
    main, leaf = Frame("main", "a.py", 1), Frame("leaf", "b.py", 20)
    native = Frame("memcpy", "libc.so.6", 0, True)
    samples = [
        Sample(1000, 1, "MainThread", [leaf, main], 10_000_000, "running", True),
        Sample(2000, 1, "MainThread", [native, leaf, main], 10_000_000, "running", None),
        Sample(3000, 2, "worker", [main], 5_000_000, "waiting", False),
    ]
    tables = Profile(day, day, 10, samples, 3, notes=("a note",))._tables
    found = []
    for name in ("speedscope", "collapsed", "pprof", "gecko", "spprof"):
        content = FORMATS[name].dumps(tables)
        places = [KINDS.index(None), KINDS.index(name)]
        if name == "spprof":
            places.append(KINDS.index("spprof sealed"))
        found += [bytes([place]) + content for place in places]
        if name == "pprof":
            import gzip

            found.append(bytes([KINDS.index(name)]) + gzip.decompress(content))
    profiler = cProfile.Profile()
    profiler.runcall(sorted, [3, 1, 2], key=lambda number: -number)
    statistics = pstats.Stats(profiler, stream=io.StringIO())
    found.append(b"\0" + marshal.dumps(statistics.stats))  # type: ignore[attr-defined]
    files = (file.read_bytes() for file in sorted(OTHER_TOOLS.iterdir()))
    return found + [b"\0" + content for content in files if len(content) < LONGEST_INPUT]


def one_input(data: bytes) -> None:
    """What every input must fulfil; raises what a loader must not raise."""
    from spprof._profile.model import loads
    from spprof.formats import FORMATS, FormatError

    if not data:
        return
    kind, content = KINDS[data[0] % len(KINDS)], data[1:]
    if kind == "spprof sealed":
        kind, body = "spprof", content[:-4]
        content = body + zlib.crc32(body).to_bytes(4, "little")
    try:
        profile = loads(content, kind)
    except FormatError:
        return
    list(itertools.islice(profile.samples, 1000))  # a row may stand for any number
    str(profile), profile.tree(), profile.threads, profile.aggregate().stacks
    if loads(FORMATS["spprof"].dumps(profile._tables)) != profile:
        raise AssertionError("what was written is not what is read back")
    for name, entry in FORMATS.items():
        if name != "html":  # the container in a page: nothing of its own is written
            entry.dumps(profile._tables)


def fuzz(arguments: Sequence[str]) -> int:
    """Fuzz in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["spprof"]):
        import spprof._profile.model
        import spprof._profile.rows
        import spprof.formats.collapsed
        import spprof.formats.container
        import spprof.formats.gecko
        import spprof.formats.pprof
        import spprof.formats.profiling_sampling
        import spprof.formats.pstats
        import spprof.formats.registry
        import spprof.formats.speedscope  # noqa: F401
    atheris.Setup([sys.argv[0], *arguments], one_input)
    atheris.Fuzz()
    return 0


def main() -> int:
    if sys.argv[1:2] == ["--inside"]:
        return fuzz(sys.argv[2:])
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--corpus", type=Path, metavar="FOLDER")
    parser.add_argument("--again", type=Path, nargs="+", metavar="FILE")
    options = parser.parse_args()
    for file in options.again or ():
        one_input(file.read_bytes())
        print(f"{file}: as it should be")
    if options.again:
        return 0
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("atheris is not installed here: pip install atheris")
        return 2
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        folder = Path(temporary)
        corpus = options.corpus or folder / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds()):
            (corpus / f"seed-{number}").write_bytes(seed)
        words = folder / "words"
        words.write_text("".join(f'"{word}"\n' for word in WORDS))
        command = [sys.executable, __file__, "--inside", str(corpus), f"-dict={words}"]
        command += [f"-max_total_time={options.seconds}", f"-max_len={LONGEST_INPUT}"]
        command += [f"-timeout={LONGEST_S}", f"-rss_limit_mb={MOST_MB}", "-print_final_stats=1"]
        status = subprocess.run([*command, "-artifact_prefix=fuzz-"], check=False).returncode
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())
