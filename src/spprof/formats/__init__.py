"""File formats: one module each, tables in and tables out.

`registry` knows which there are, `files` how a file is written. Must not know Profile, nor how
samples are taken.
"""

from __future__ import annotations

from ._errors import FormatError
from .files import check_writable
from .registry import FORMATS, Format, find, for_path, load, loads, save, save_diff

__all__ = [
    "FORMATS",
    "Format",
    "FormatError",
    "check_writable",
    "find",
    "for_path",
    "load",
    "loads",
    "save",
    "save_diff",
]
