"""The error of files that cannot be read. Knows no format."""

from __future__ import annotations


class FormatError(ValueError):
    """A file is not what it should be; the message says where and what."""
