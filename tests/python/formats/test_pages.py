"""What people look at: the picture and the page."""

from __future__ import annotations

import base64
import json
import os
import re
import xml.etree.ElementTree as ET
import zlib
from html.parser import HTMLParser

import pytest
from small_profiles import MAIN, WORK, needs_front_end, one, plain

from spprof import Frame, Sample
from spprof._profile import queries
from spprof._profile.queries import tree, wide_tree
from spprof.formats import _front_end


def counting(function, calls):
    """A stand-in that notes its calls."""

    def call(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return call


SVG = "{http://www.w3.org/2000/svg}"


class TestSvg:
    def test_is_bounded(self, make_profile, tmp_path) -> None:
        profile = make_profile(5000, stacks=3000)
        profile.save(tmp_path / "all.svg", min_share=0)
        assert (tmp_path / "all.svg").stat().st_size > 300_000
        for bound in (150_000, 30_000, 12_000):
            profile.save(tmp_path / "p.svg", max_bytes=bound)
            assert (tmp_path / "p.svg").stat().st_size <= bound
            ET.parse(tmp_path / "p.svg")
        with pytest.raises(ValueError, match="too small"):
            profile.save(tmp_path / "p.svg", max_bytes=100)

    def test_deep_stacks_are_cut_to_fit(self, tmp_path) -> None:
        one(*[WORK] * 5000).save(tmp_path / "p.svg", max_bytes=50_000)
        assert 20_000 < (tmp_path / "p.svg").stat().st_size <= 50_000

    def test_narrow_frames_are_folded_not_lost(self, tmp_path) -> None:
        narrow = [Sample(None, 1, "t", [Frame(f"n{i}", "n.py", 1), MAIN]) for i in range(50)]
        wide = [Sample(None, 1, "t", [WORK, MAIN])] * 50
        plain(*narrow, *wide).save(tmp_path / "p.svg", min_share=0.02)
        titles = [e.text or "" for e in ET.parse(tmp_path / "p.svg").iter(f"{SVG}title")]
        (folded,) = [t for t in titles if "narrow frames" in t]
        assert folded.startswith("50 narrow frames: n0, n1")
        assert folded.endswith("50.00%")

    @pytest.mark.parametrize("min_share", [0, 0.002, 0.01, 0.2])
    def test_what_is_too_narrow_is_summed_without_being_drawn(
        self, make_profile, min_share
    ) -> None:
        tables = make_profile(3000, stacks=800)._tables
        whole = tree(tables, lines=False)
        drawn, left_out = wide_tree(tables, min_share, 5)
        pairs = [(whole, drawn)]
        while pairs:
            full, made = pairs.pop()
            assert (made.total_ns, made.total_samples) == (full.total_ns, full.total_samples)
            assert (made.self_ns, made.self_samples) == (full.self_ns, full.self_samples)
            assert (made.function_name, made.lineno) == (full.function_name, full.lineno)
            wide = [c for c in full.children if c.total_ns >= min_share * whole.total_ns]
            narrow = full.children[len(wide) :]
            if full.total_ns < min_share * whole.total_ns:
                assert made.children == []
                continue
            assert len(made.children) == len(wide) + len(narrow[:5])
            rest = narrow[5:]
            if narrow:
                assert left_out[id(made)] == (len(rest), sum(c.total_ns for c in rest))
            pairs += zip(full.children, made.children)

    def test_picture_of_a_large_profile_takes_what_it_shows_in_hand_and_no_more(
        self, monkeypatch, tmp_path
    ) -> None:
        narrow = [
            Sample(None, 1, "t", [Frame(f"leaf{i}", "n.py", 1), Frame(f"n{i % 500}", "n.py", 1)])
            for i in range(20_000)
        ]
        profile = plain(*narrow, *[Sample(None, 1, "t", [WORK, MAIN])] * 20_000)
        described = []
        monkeypatch.setattr(queries, "describe", counting(queries.describe, described))
        profile.save(tmp_path / "p.svg", min_share=0.003)
        # Of 20,503 functions in their places: those below the root, and what is wide of theirs.
        assert len(described) == 502

    def test_any_name_gives_well_formed_xml(self, tmp_path) -> None:
        names = ["<script>alert(1)</script>", 'a"b', "]]>", "\x00\x1b", "\udc80", "&amp;", "😀"]
        plain(*[Sample(None, 1, n, [Frame(n, n, 1)]) for n in names]).save(tmp_path / "p.svg")
        root = ET.parse(tmp_path / "p.svg").getroot()
        assert len(root.findall(f".//{SVG}script")) == 1


class TestHtml:
    @needs_front_end
    def test_names_cannot_leave_the_page(self, tmp_path) -> None:
        one(Frame("</script><script>alert(1)</script>", "x", 1)).save(
            tmp_path / "p.html", title="</title><script>alert(2)</script>"
        )
        seen: list[tuple[str, str]] = []

        class Reader(HTMLParser):
            def handle_starttag(self, tag: str, attrs: object) -> None:
                seen.append((tag, ""))

            def handle_data(self, data: str) -> None:
                if seen:
                    seen[-1] = seen[-1][0], seen[-1][1] + data

        Reader().feed((tmp_path / "p.html").read_text(encoding="utf-8"))
        assert [tag for tag, _ in seen].count("script") == 3
        (title,) = [text for tag, text in seen if tag == "title"]
        assert title.strip() == "</title><script>alert(2)</script>"

    @needs_front_end
    def test_sources_only_when_asked_for(self, tmp_path) -> None:
        code = "def f():\n    secret = 1\n"
        (tmp_path / "f.py").write_text(code)
        # Not edited since the profile was taken: a text that did not run is not shown.
        os.utime(tmp_path / "f.py", (0, 0))
        profile = one(Frame("f", str(tmp_path / "f.py"), 2), Frame("g", "/not/here.py", 1))

        def sources(**options: bool) -> object:
            profile.save(tmp_path / "p.html", **options)
            text = (tmp_path / "p.html").read_text(encoding="utf-8")
            match = re.search(r'<script id="spprof-sources"[^>]*>([^<]*)<', text)
            return match and json.loads(zlib.decompress(base64.b64decode(match[1])))

        assert sources() is None
        assert sources(sources=True) == {str(tmp_path / "f.py"): code}

    @needs_front_end
    def test_asks_the_network_for_nothing(self, make_profile, tmp_path) -> None:
        make_profile().save(tmp_path / "p.html")
        text = (tmp_path / "p.html").read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=", text)
        assert "default-src &#x27;none&#x27;" in text

    def test_says_what_to_do_when_the_front_end_is_missing(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(_front_end, "STATIC", tmp_path / "static")
        with pytest.raises(FileNotFoundError, match="npm ci && npm run build"):
            one(MAIN).save(tmp_path / "p.html")
        assert list(tmp_path.iterdir()) == []
