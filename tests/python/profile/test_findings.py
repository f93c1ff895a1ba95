"""What a profile is said to show: each finding at its threshold with its numbers, not below."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone

import pytest

import spprof
from spprof import Frame, Profile, Sample
from spprof._profile.digest import digest, markdown
from spprof._profile.findings import Finding, findings

START = datetime(2026, 5, 1, 12, 0, 0, tzinfo=timezone.utc)
MAIN, PARSE = Frame("main", "app.py", 1), Frame("parse", "app.py", 9)
OTHERS = [Frame(f"f{i}", "app.py", 20 + i) for i in range(50)]


def profile(
    *samples: Sample, seconds: float = 1, mode: str = "cpu", interval_ms: float = 1
) -> Profile:
    return Profile(START, START + timedelta(seconds=seconds), interval_ms, samples, mode=mode)


def part(marked: int, of: int, stack: list[Frame], **more: object) -> list[Sample]:
    """Samples of which so many, evenly spread, have this stack; the rest is spread thin."""
    return [
        Sample(
            at * 1_000_000,
            1,
            "MainThread",
            stack if at * marked % of < marked else [OTHERS[at % 50], MAIN],
            **(more if at * marked % of < marked else {}),
        )
        for at in range(of)
    ]


def found(kind: str, p: Profile) -> Finding | None:
    several = [finding for finding in findings(p._tables) if finding.kind == kind]
    assert len(several) < 2
    return several[0] if several else None


class TestMeasured:
    def test_is_always_the_first(self) -> None:
        first, *rest = findings(profile(*part(1, 1000, [PARSE, MAIN]))._tables)
        assert first.kind == "measured"
        assert first.text == "1.00 s CPU time in 1.00 s on the clock, 1000 samples (1000 Hz)"
        assert first.evidence["samples"] == 1000
        assert rest == []

    def test_of_wall_time_what_ran(self) -> None:
        p = profile(*part(400, 1000, [PARSE, MAIN], state="waiting"), mode="wall")
        text = findings(p._tables)[0].text
        assert text == "1.00 s on the clock, 600.0 ms running, 1000 samples (1000 Hz)"

    def test_of_nothing(self) -> None:
        (only,) = findings(profile()._tables)
        assert "0 samples" in only.text

    def test_a_difference_has_none(self) -> None:
        one = profile(*part(500, 1000, [PARSE, MAIN]))
        assert findings(spprof.diff(one, one).as_profile()._tables) == []


class TestThresholds:
    @pytest.mark.parametrize(
        ("kind", "least", "stack", "text"),
        [
            ("dominates", 200, [PARSE, MAIN], r"20% in parse\(\), app\.py:9"),
            (
                "imports",
                100,
                [
                    Frame("<module>", "/lib/python3.11/site-packages/pandas/__init__.py", 1),
                    Frame("_find_and_load", "<frozen importlib._bootstrap>", 1),
                    MAIN,
                ],
                r"10% in import, most in `import pandas`",
            ),
            (
                "garbage",
                50,
                [Frame("gc_collect_main", "/usr/bin/python3", 0, True), OTHERS[0], MAIN],
                r"5% in garbage collection",
            ),
        ],
    )
    def test_named_from_there_on(self, kind, least, stack, text) -> None:
        finding = found(kind, profile(*part(least, 1000, stack)))
        assert finding is not None
        assert re.fullmatch(text, finding.text)
        assert finding.share == pytest.approx(least / 1000, abs=1e-6)
        low, high = finding.interval or (1, 0)
        assert low < finding.share < high
        assert finding.evidence["threshold"] == least / 1000
        assert found(kind, profile(*part(least - 10, 1000, stack))) is None

    def test_few_samples(self) -> None:
        finding = found("few", profile(*part(10, 99, [PARSE, MAIN])))
        assert finding is not None
        assert "10 points off" in finding.text
        assert found("few", profile(*part(10, 101, [PARSE, MAIN]))) is None

    def test_python_functions_called_like_it_collect_nothing(self) -> None:
        named = Frame("gc_collect_main", "app.py", 3)
        assert found("garbage", profile(*part(500, 1000, [named, MAIN]))) is None

    def test_an_uncertain_share_says_so(self) -> None:
        finding = found("dominates", profile(*part(60, 120, [PARSE, MAIN])))
        assert finding is not None
        assert re.fullmatch(r"50% \(41-59%\) in parse\(\), app\.py:9", finding.text)


class TestThreads:
    def threads(self, share: float, mode: str = "wall") -> Profile:
        """Two threads that hold the GIL in turn, together for a share of a second."""
        held = round(share * 1000)
        return profile(
            *(
                Sample(
                    at * 1_000_000,
                    1 + at % 2,
                    f"worker-{at % 2}",
                    [PARSE if at % 10 else OTHERS[0], MAIN],
                    1_000_000,
                    holds_gil=True,
                )
                for at in range(held)
            ),
            mode=mode,
        )

    def test_who_holds_the_gil(self) -> None:
        finding = found("gil", self.threads(0.97))
        assert finding is not None
        assert finding.text == (
            "GIL held 97% of the time, 90% of that by parse(); 2 threads shared it"
        )
        assert finding.evidence["function"] == "parse"
        assert finding.evidence["held_ns"] == 970_000_000
        assert found("gil", self.threads(0.7)) is None

    def test_one_thread_has_nobody_to_hold_it_against(self) -> None:
        alone = self.threads(0.97).filter(thread="worker-0")
        assert found("gil", alone) is None

    def test_waiting_of_the_thread_that_ran_most(self) -> None:
        samples = part(400, 1000, [PARSE, MAIN], state="waiting")
        idle = [Sample(0, 2, "idle", [OTHERS[1]], 10**9, state="waiting")]
        finding = found("waits", profile(*samples, *idle, mode="wall"))
        assert finding is not None
        assert finding.text == "MainThread waited 40% of its time, most in parse()"
        assert found("waits", profile(*part(290, 1000, [PARSE], state="waiting"))) is None

    def test_waiting_for_children(self) -> None:
        wait = Frame("Popen._wait", "/usr/lib/python3.11/subprocess.py", 1)
        p = profile(*part(600, 1000, [wait, MAIN], state="waiting"), mode="wall")
        finding = found("children", p)
        assert finding is not None
        assert finding.text == "60% waiting for other processes, which are not in this profile"
        assert found("waits", p) is None
        p._tables.meta = p._tables.meta.but(processes=({"name": "child"},))
        finding = found("children", p)
        assert finding is not None
        assert finding.text == "60% waiting for other processes"

    def test_a_pool_waits_for_processes_and_one_of_threads_for_none(self) -> None:
        pool, wait = (
            "/usr/lib/python3.11/multiprocessing/pool.py",
            "/usr/lib/python3.11/threading.py",
        )
        stack = [Frame("Event.wait", wait, 1), Frame("ApplyResult.get", pool, 1), MAIN]
        samples = part(600, 1000, stack, state="waiting")
        assert found("children", profile(*samples, mode="wall")) is not None
        worker = Sample(0, 2, "worker", [Frame("worker", pool, 1)], 1)
        assert found("children", profile(*samples, worker, mode="wall")) is None

    def test_garbage_collection_is_the_same_in_findings_and_summary(self) -> None:
        stack = [Frame("__del__", "app.py", 3), Frame("[garbage collection 2]", "", 0), MAIN]
        p = profile(*part(100, 1000, stack))
        finding = found("garbage", p)
        assert finding is not None
        assert finding.text == "10% in garbage collection"
        assert "garbage collection: 10.0%" in str(p)
        native = Frame("gc_collect_main", "python", 0, is_native=True)
        assert "garbage collection: 10.0%" in str(profile(*part(100, 1000, [native, MAIN])))


class TestDigest:
    P = profile(*part(300, 1000, [Frame("pa|rse`s", "a_b.py", 9), MAIN]))

    def test_keys(self) -> None:
        found = json.loads(json.dumps(digest(self.P._tables, 3)))
        assert list(found) == [
            "version",
            "mode",
            "start_time",
            "duration_ns",
            "interval_ns",
            "weight_ns",
            "samples",
            "rate_hz",
            "dropped",
            "python_version",
            "confidence",
            "findings",
            "functions",
            "threads",
            "gil_waits",
            "notes",
        ]
        assert found["version"] == 1
        assert [list(each) for each in found["findings"]] == [
            ["kind", "text", "share", "interval", "evidence"]
        ] * 2
        first, *_ = found["functions"]
        assert len(found["functions"]) == 3
        assert first["function"] == "pa|rse`s"
        assert first["self_share"] == pytest.approx(0.3)
        assert first["self_interval"][0] < 0.3 < first["self_interval"][1]

    def test_markdown_is_a_table_whatever_names_hold(self) -> None:
        text = markdown(self.P._tables, digest(self.P._tables, 3))
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {7}
        assert "`pa\\|rse's`" in rows[2]
        assert "30% in pa" in text

    def test_command(self, tmp_path, capsys) -> None:
        from spprof._cli.main import main

        path = tmp_path / "p.spprof"
        self.P.save(path)
        assert main(["report", "--json", "-n", "2", str(path)]) == 0
        assert len(json.loads(capsys.readouterr().out)["functions"]) == 2
        assert main(["report", "--markdown", str(path)]) == 0
        assert capsys.readouterr().out.startswith("# Profile\n")
        with pytest.raises(SystemExit):
            main(["report", "--json", "--tree", str(path)])
