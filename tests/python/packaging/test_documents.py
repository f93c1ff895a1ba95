"""README and docs: every block of Python runs or at least is Python, every link leads somewhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import spprof

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
if not DOCS.is_dir():
    pytest.skip("no source tree here", allow_module_level=True)
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

# What the README takes for granted: a model, its data, and something to do.
GIVEN = """
import time
class Model:
    def fit(self, X, y):
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            sum(X)
model, X, y = Model(), range(100), None
def work():
    model.fit(X, y)
"""
AS_CELLS = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in sys.stdin.read().split("\\0"):
    if not shell.run_cell(cell).success:
        sys.exit("this block failed:\\n" + cell)
"""


def blocks(page: Path, language: str) -> list[str]:
    """The page's code of a language, block by block."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [code for kind, code in found if kind == language]


def prose(page: Path) -> str:
    """The page without its code."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(page: Path) -> set[str]:
    """What a link to a heading of the page is called, as GitHub and MkDocs call it."""
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text(encoding="utf-8")), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()).strip() for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", DOCS / "MIGRATION.md"], ids=lambda page: page.name
)
def test_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path) -> None:
    """In one shell, as a reader would; its magics too."""
    pytest.importorskip("IPython")
    done = subprocess.run(
        [sys.executable, "-c", AS_CELLS],
        input="\0".join([GIVEN, *blocks(page, "python")]),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_called_python_are_python(page: Path) -> None:
    for code in blocks(page, "python"):
        if not code.startswith("%"):
            # `await` outside of a function is Python in a notebook.
            compile(code, page.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_every_page_with_python_is_run_by_a_test() -> None:
    """By the one above, `profile/test_usage.py` and `session/test_processes_page.py`."""
    pages = {page.name for page in PAGES if blocks(page, "python")}
    assert pages == {"README.md", "MIGRATION.md", "USAGE.md", "PROCESSES.md"}


def test_every_public_name_is_in_the_reference() -> None:
    text = (DOCS / "REFERENCE.md").read_text(encoding="utf-8")
    listed = re.findall(r"members: \[(.*)\]", text)
    named = {name for names in listed for name in names.split(", ")}
    assert {*spprof.__all__} - named == {"__version__"}
    undocumented = [name for name in spprof.__all__ if not getattr(spprof, name).__doc__]
    assert undocumented == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (heading and heading not in anchors(file)):
            dead.append(target)
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_the_repository_are_there(page: Path) -> None:
    """`tests/bench/x.py` and the like, by which figures are measured."""
    text = re.sub(r"^```text\n.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    named = set(re.findall(r"\b(?:tests|notebooks)/[\w./-]*\w(?![\w./*-])", text))
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_every_command_that_is_shown_exists() -> None:
    """In blocks of shell: `spprof NAME --option` are options of that command."""
    from spprof._cli.main import parser

    commands = next(a for a in parser()._actions if hasattr(a, "choices") and a.choices)
    assert isinstance(commands.choices, dict)
    unknown = []
    for page in PAGES:
        for code in blocks(page, "sh"):
            for line in code.splitlines():
                found = re.match(r"spprof ([a-z]+)(.*)", line.partition(" #")[0])
                if found is None:
                    continue
                command = commands.choices.get(found[1])
                # What follows a program's name is the program's.
                own = re.split(r"\s\S+\.py\b| -m ", found[2])[0]
                options = re.findall(r"\s(--?[a-z][a-z-]*)", own)
                known = set() if command is None else set(command._option_string_actions)
                unknown += [line for option in options if option not in known]
                unknown += [] if command else [line]
    assert unknown == []


@pytest.mark.skipif(not (ROOT / ".ci").is_dir(), reason="an sdist has no part in its release")
def test_for_a_release_no_link_of_the_readme_needs_the_repository(tmp_path: Path) -> None:
    for name in ("README.md", "pyproject.toml", "src/spprof/_version.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    home, tag = "https://example.org/us/spprof", f"v{spprof.__version__}"
    command = [sys.executable, str(ROOT / ".ci" / "name_home"), home]
    subprocess.run([*command, tag], cwd=tmp_path, check=True)
    before, after = (prose(folder / "README.md") for folder in (ROOT, tmp_path))
    targets = re.findall(r"\]\(([^)\s]+)\)", after)
    assert len(targets) == len(re.findall(r"\]\(([^)\s]+)\)", before))
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    for target in targets:
        kind, _, path = target.removeprefix(f"{home}/").partition(f"/{tag}/")
        if target.startswith(home):
            assert (ROOT / path.partition("#")[0]).exists(), target
            assert kind == ("raw" if path.endswith(".png") else "blob")
    assert f'Homepage = "{home}"' in (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
    wrong = subprocess.run([*command, "v999"], cwd=tmp_path, capture_output=True, check=False)
    assert wrong.returncode == 1
    assert b"the tag is v999" in wrong.stderr
