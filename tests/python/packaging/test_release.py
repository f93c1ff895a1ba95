"""What a release is made by: one version everywhere, and workflows that can be trusted with it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import spprof

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = ROOT / ".github" / "workflows"
RECIPE = ROOT / ".ci" / "conda" / "recipe.yaml"
if not WORKFLOWS.is_dir() or not RECIPE.is_file():
    pytest.skip("an sdist has no part in its release", allow_module_level=True)


def text_of(*names: str) -> str:
    return ROOT.joinpath(*names).read_text(encoding="utf-8")


def test_the_version_is_the_same_everywhere() -> None:
    assert re.findall(r"^version: (.+)$", text_of("CITATION.cff"), re.M) == [spprof.__version__]
    assert re.findall(r'^  version: "(.+)"$', RECIPE.read_text(), re.M) == [spprof.__version__]
    heads = re.findall(r"^## (.+)$", text_of("CHANGELOG.md"), re.M)
    assert heads[0] == "Unreleased" or heads[0].startswith(spprof.__version__)


def test_the_citation_has_what_its_schema_asks_for() -> None:
    text = text_of("CITATION.cff")
    members = set(re.findall(r"^([a-z-]+):", text, re.M))
    assert {"cff-version", "message", "title", "authors", "type", "license"} <= members
    assert "cff-version: 1.2.0" in text


def test_the_recipe_builds_with_what_the_package_builds_with() -> None:
    wanted = set(
        re.findall(r'^    "(scikit-build-core|nanobind)>=([\d.]+)', text_of("pyproject.toml"), re.M)
    )
    recipe = RECIPE.read_text()
    named = set(re.findall(r"- (scikit-build-core|nanobind) >=([\d.]+)", recipe))
    assert named <= wanted
    assert {name for name, _ in named} == {"scikit-build-core", "nanobind"}
    extra = re.findall(r"^jupyter = \[(.*)\]", text_of("pyproject.toml"), re.M)[0]
    for name, version in re.findall(r'"(\w+)>=([\d.]+)"', extra):
        assert f"- {name} >={version}" in recipe


def test_every_version_of_python_is_tested_and_built() -> None:
    declared = re.findall(r"Programming Language :: Python :: (3\.\d+)", text_of("pyproject.toml"))
    (tested,) = re.findall(r"python: (\[.*3\.15t.*\])", text_of(".github", "workflows", "ci.yml"))
    assert set(declared) <= set(re.findall(r'"([\d.]+t?)"', tested))
    project = text_of("pyproject.toml")
    assert f'requires-python = ">={declared[0]}"' in project
    for name in ("cp3*-manylinux_*", "cp3*-musllinux_*", "cp3*-macosx_*", "cp3*-win_amd64"):
        assert f'"{name}"' in project
    assert 'enable = ["cpython-freethreading"]' in project
    wheels = text_of(".github", "workflows", "wheels.yml")
    for runner in ("ubuntu-latest", "ubuntu-24.04-arm", "macos-15", "windows-2025"):
        assert runner in wheels


def test_actions_are_pinned_and_nobody_has_a_password() -> None:
    for file in WORKFLOWS.glob("*.yml"):
        text = file.read_text(encoding="utf-8")
        for used in re.findall(r"uses: (\S+)", text):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", used), used
        assert re.search(r"^permissions:\n  contents: read$", text, re.M)
        assert "secrets." not in text
    publish = text_of(".github", "workflows", "wheels.yml").partition("  publish:")[2]
    assert "id-token: write" in publish
    assert "environment: pypi" in publish


def test_workflows_pass_their_linter() -> None:
    beside = Path(sys.executable).with_name("zizmor")
    zizmor = str(beside) if beside.exists() else shutil.which("zizmor")
    if zizmor is None:
        pytest.skip("no zizmor here")
    command = [zizmor, "--offline", "--quiet", "--no-progress", str(WORKFLOWS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
