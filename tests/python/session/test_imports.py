"""What is imported when: little at first, nothing at the end, nothing into the profile."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest


def output_of(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_starting_a_session_imports_nothing_heavy() -> None:
    heavy = ["dataclasses", "enum", "inspect", "json", "pathlib", "re", "secrets", "typing"]
    heavy += ["numpy", "pandas", "IPython", "ipywidgets"]
    found = output_of(
        f"before = set(sys.modules)\nimport spprof; spprof.start()\n"
        f"print(sorted((set(sys.modules) - before) & {set(heavy)!r})); spprof.stop()"
    )
    assert found == "[]"


def test_stopping_one_imports_nothing() -> None:
    """A program may change its root directory, or fork while another thread imports."""
    found = output_of(
        "import spprof\n"
        "class Refuse:\n"
        "    def find_spec(self, name, *more): raise ImportError(f'{name} is looked for')\n"
        "spprof.start(1)\n"
        "sum(range(3_000_000))\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "profile = spprof.stop()\n"
        "del sys.meta_path[0]\n"
        "print(profile.sample_count > 0)"
    )
    assert found == "True"


def test_what_is_imported_in_mid_session_is_not_in_the_profile() -> None:
    found = output_of(
        "import spprof\n"
        "spprof.start(0.1)\n"
        "sum(range(1_000_000))\n"
        "spprof.stats(), spprof.Frame, spprof.Profile, spprof.load\n"
        "profile = spprof.stop()\n"
        "names = {s.function_name for s in profile.top(None)}\n"
        "print(profile.sample_count > 0, [n for n in names if 'import' in n or 'exec' in n])"
    )
    assert found == "True []"


def test_names_imported_on_demand_are_the_packages_own() -> None:
    found = output_of(
        "import spprof\n"
        "print(all(name in dir(spprof) for name in spprof.__all__))\n"
        "from spprof import *\n"
        "print(Profile is spprof.Profile, spprof.formats.FORMATS['svg'].name)\n"
        "print(hasattr(spprof, 'nothing'))"
    )
    assert found.splitlines() == ["True", "True svg", "False"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("how", ["chroot", "setuid", "chroot, setuid"])
@pytest.mark.slow_unless(how="chroot, setuid")
def test_a_daemon_that_gives_up_what_it_need_not_have_keeps_its_profile(how) -> None:
    folder = Path(tempfile.mkdtemp())  # pytest's own cannot be reached by others
    folder.chmod(0o777)
    found = output_of(
        "import os, time, spprof\n"
        f"how, folder = {how!r}, {str(folder)!r}\n"
        "def burn():\n"
        "    t = time.thread_time()\n"
        "    while time.thread_time() - t < .2: pass\n"
        "spprof.start(1)\n"
        "os.chdir(folder)\n"
        "if 'chroot' in how: os.chroot(folder); sys.path[:] = []\n"
        "if 'setuid' in how: os.setgid(65534); os.setuid(65534)\n"
        "burn()\n"
        "p = spprof.stop()\n"
        "p.top(mine=True)\n"
        "str(p), p.tree(), p.threads, list(p.samples), p.aggregate().stacks, str(p.diff(p))\n"
        "for end in ('spprof', 'json', 'folded', 'pb.gz', 'gecko.json', 'svg'):\n"
        "    p.save(f'p.{end}')\n"
        "print(p.top(1)[0].function_name, p.top(1)[0].total_share > .9)"
    )
    assert found == "burn True"
    assert len(list(folder.iterdir())) == 6
    shutil.rmtree(folder)
