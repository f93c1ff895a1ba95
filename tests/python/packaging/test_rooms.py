"""Who may include and import whom: docs/ARCHITECTURE.md's rooms, as rules.

The Python rooms are import-linter's (pyproject.toml), but for what it cannot see: `_native` is no
Python file.
"""

from __future__ import annotations

import ast
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CPP, PACKAGE = ROOT / "cpp", ROOT / "src" / "spprof"

if not CPP.is_dir():
    pytest.skip("no source tree here", allow_module_level=True)

# Which rooms, or single headers, each room may include beside its own files.
MAY_INCLUDE = {
    "module": {"sampling", "interpreter", "native", "platform", "profile"},
    "sampling": {"interpreter", "native", "platform", "profile"},
    "interpreter": {"platform/safe_memory.h", "platform/threads.h"},
    "native": {"platform"},
    "platform": set(),
    "profile": set(),
}
# Headers from outside that a room must not know.
MUST_NOT_KNOW = {
    "platform": r"Python\.h|cpython/|internal/|frameobject\.h|nanobind/",
    "profile": r"Python\.h|cpython/|internal/|nanobind/|signal\.h|ucontext\.h|pthread\.h|sys/",
    "native": r"Python\.h|cpython/|internal/|nanobind/",
    "interpreter": r"signal\.h|ucontext\.h|pthread\.h|nanobind/",
    "sampling": r"nanobind/|Python\.h|signal\.h|ucontext\.h|pthread\.h|sys/",
}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def rooms() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(CPP.rglob("*")):
        if path.suffix in (".h", ".cpp"):
            found.setdefault(room_of(path), []).append(path)
    return found


def room_of(path: Path) -> str:
    return path.relative_to(CPP).parts[0].partition(".")[0]


def includes(path: Path) -> list[tuple[str, Path | None]]:
    """What a file includes: the text, and the file of ours that it means."""
    found = []
    for match in INCLUDE.finditer(path.read_text(encoding="utf-8")):
        ours = [folder / match[2] for folder in (path.parent, CPP)]
        meant = next((file.resolve() for file in ours if file.exists()), None)
        found.append((match[2], meant))
    return found


def test_every_room_has_its_rules() -> None:
    assert set(rooms()) == set(MAY_INCLUDE)


@pytest.mark.parametrize("room", MAY_INCLUDE)
def test_rooms_include_only_what_they_may(room: str) -> None:
    allowed = MAY_INCLUDE[room] | {room}
    wrong = []
    for path in rooms().get(room, []):
        for text, meant in includes(path):
            if meant is None:
                if re.match(MUST_NOT_KNOW.get(room, r"\Z"), text):
                    wrong.append(f"{path.relative_to(CPP)} includes <{text}>")
            elif not {room_of(meant), str(meant.relative_to(CPP))} & allowed:
                wrong.append(f"{path.relative_to(CPP)} includes {meant.relative_to(CPP)}")
    assert wrong == []


def test_only_the_engines_file_knows_the_native_module() -> None:
    imports = re.compile(r"^\s*(from .*import .*\b_native\b|import .*\b_native\b)", re.MULTILINE)
    known = [
        str(path.relative_to(PACKAGE))
        for path in sorted(PACKAGE.rglob("*.py"))
        if imports.search(path.read_text(encoding="utf-8"))
    ]
    assert known == ["_session/engine.py"]


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, known: set[str]) -> set[str]:
    """Modules of ours that a file imports, anywhere but for type checkers."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += node.orelse
            continue
        pending += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package.split(".")[: len(package.split(".")) + 1 - node.level]
            start = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{start}.{alias.name}"
                found.add(name if name in known else start)
    return found & known - {module_of(path)}


def test_no_module_imports_itself_by_way_of_others() -> None:
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if "startup" not in path.parts]
    known = {module_of(path) for path in files}
    # The package itself hands out names, and is imported with each of its modules anyway.
    graph = {module_of(path): imports_of(path, known) - {"spprof"} for path in files}
    assert len(graph) > 50
    assert graph["spprof._profile.model"] > {"spprof.formats.registry", "spprof._profile.tables"}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, and names it


def test_nothing_of_the_package_is_called_profile() -> None:
    """It would take the place of the decorator `spprof.profile`."""
    assert not (PACKAGE / "profile.py").exists()
    assert not (PACKAGE / "profile").exists()


@pytest.mark.parametrize("folder", [PACKAGE, ROOT / "tests"])
def test_no_python_file_is_too_long_to_read(folder: Path) -> None:
    long = {
        str(path.relative_to(ROOT)): length
        for path in folder.rglob("*.py")
        if "node_modules" not in path.parts
        and (length := len(path.read_text(encoding="utf-8").splitlines())) >= 800
    }
    assert long == {}
