"""How functions of machine code are called: the same answers as the widget's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spprof._profile.names import cython_rank, module, short_native, without_suffixes

SHARED = Path(__file__).resolve().parents[2] / "examples" / "native_names.json"


@pytest.mark.parametrize(("name", "short"), json.loads(SHARED.read_text(encoding="utf-8")))
def test_short_name(name: str, short: str) -> None:
    assert short_native(name) == short


def test_a_short_name_stays_as_it_is() -> None:
    """Nothing is lost by shortening twice, except of what was one name with spaces."""
    for _, short in json.loads(SHARED.read_text(encoding="utf-8")):
        if " " not in short and "<" not in short and "operator" not in short:
            assert short_native(short) == short


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("dict_dealloc.cold", "dict_dealloc"),
        ("list_sort_impl.part.0.constprop.1", "list_sort_impl"),
        ("libfoo.so+0x10", "libfoo.so+0x10"),
    ],
)
def test_what_compilers_append(name: str, short: str) -> None:
    assert without_suffixes(name) == short


def test_what_cython_makes_of_one_function_is_ordered() -> None:
    names = ["memcpy", "__pyx_pw_3mod_1f", "__pyx_pf_3mod_f(_object*)", "__pyx_f_3mod_f.isra.0"]
    assert [cython_rank(name) for name in names] == [0, 1, 2, 3]


def test_a_module_is_not_said_twice() -> None:
    path = "/venv/lib/python3.11/site-packages/pandas/_libs/lib.cpython-311-x86_64-linux-gnu.so"
    assert module("__pyx_pw_6pandas_5_libs_3lib_15is_list_like", path, True) == ""
    assert module("is_list_like", path, True) == "pandas._libs.lib"
