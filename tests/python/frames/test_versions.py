"""A build that does not fit the interpreter refuses to be imported, and says what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import pytest

import spprof._native

ROOT = Path(__file__).resolve().parents[3]
INCLUDE = Path(sysconfig.get_path("include"))
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")

needs_compiler = pytest.mark.skipif(
    COMPILER is None or not (INCLUDE / "Python.h").exists() or not (ROOT / "cpp").is_dir(),
    reason="needs a C++ compiler, Python's headers and spprof's sources",
)

# What self_test() says, in a module of its own whose walker looks at another field than it means.
MODULE = """
#include "interpreter/python_internals.h"
{change}
#include "interpreter/python_thread.cpp"
#include "interpreter/self_test.cpp"

// Nothing is read here that is not there.
extern "C" bool spprof::platform::spprof_safe_copy(const void* source, void* target,
                                                   std::size_t words) noexcept {{
    std::memcpy(target, source, words * sizeof(std::uintptr_t));
    return true;
}}
__attribute__((tls_model("initial-exec")))
__thread bool spprof::platform::loads_by_system_call = false;
bool spprof::platform::copy_by_system_call(std::uintptr_t, void*, std::size_t) noexcept {{
    return false;
}}
#ifdef __linux__
spprof::platform::ManyLoads::ManyLoads() noexcept : opened_(false) {{}}
spprof::platform::ManyLoads::~ManyLoads() {{ (void)opened_; }}
#endif

extern "C" __attribute__((visibility("default"))) PyObject* PyInit_refusing() {{
    if (const char* problem = spprof::interpreter::self_test()) {{
        PyErr_SetString(PyExc_ImportError, problem);
        return nullptr;
    }}
    static PyModuleDef definition = {{PyModuleDef_HEAD_INIT, "refusing", nullptr, -1, nullptr,
                                     nullptr, nullptr, nullptr, nullptr}};
    return PyModule_Create(&definition);
}}
"""

if sys.version_info >= (3, 13):
    OTHER_FIELD = "#define f_executable f_funcobj"
elif sys.version_info >= (3, 11):
    OTHER_FIELD = "#define prev_instr f_globals"
else:
    OTHER_FIELD = "#define f_lasti f_lineno"


def import_module(folder: Path, change: str) -> str:
    """What importing a module with this change says; "" when it can be imported."""
    source = folder / "refusing.cpp"
    source.write_text(MODULE.format(change=change))
    assert COMPILER is not None
    command = [COMPILER, "-std=c++17", "-O1", "-w", "-shared", "-fPIC", "-fvisibility=hidden"]
    command += [f"-I{ROOT / 'cpp'}", f"-I{INCLUDE}", f"-I{sysconfig.get_path('platinclude')}"]
    target = folder / ("refusing" + sysconfig.get_config_var("EXT_SUFFIX"))
    subprocess.run([*command, str(source), "-o", str(target)], check=True)
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "import refusing"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    return result.stderr if result.returncode else ""


@needs_compiler
def test_the_layout_of_this_very_interpreter_is_recognised(tmp_path: Path) -> None:
    assert import_module(tmp_path, "") == ""


@needs_compiler
def test_a_layout_that_is_not_recognised_is_refused(tmp_path: Path) -> None:
    said = import_module(tmp_path, OTHER_FIELD)
    assert "ImportError: the frames of this interpreter are not laid out as" in said
    assert "pip install --no-binary spprof" in said


@needs_compiler
def test_a_build_for_another_version_is_refused(tmp_path: Path) -> None:
    # Included before the version is looked at, and so all but the answer to that is as it was.
    if sys.version_info >= (3, 11):
        change = '#include "interpreter/walk.h"\n#define Py_Version (PY_VERSION_HEX + 0x10000)'
    else:
        change = '#include "interpreter/walk.h"\n#define Py_GetVersion() "3.99.0"'
    said = import_module(tmp_path, change)
    assert "ImportError: this build of spprof was made for another version of Python" in said
    assert "pip install --force-reinstall" in said


def test_the_module_is_named_after_this_version_only() -> None:
    """No stable ABI: an installer must never take one version's build for another's."""
    assert spprof._native.__file__ is not None
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    tag = f"{sys.version_info.major}{sys.version_info.minor}"
    assert tag in suffix
    assert spprof._native.__file__.endswith(suffix)


def test_the_profile_says_which_python_it_is_of() -> None:
    program = textwrap.dedent(
        """
        import platform, spprof
        with spprof.Profiler(1) as p:
            sum(range(1_000_000))
        assert p.profile.python_version == platform.python_version()
        """
    )
    subprocess.run([sys.executable, "-c", program], check=True)
