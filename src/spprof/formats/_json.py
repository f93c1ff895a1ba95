"""JSON that may hold anything: read, or refused with the place. Must not know any format."""

from __future__ import annotations

import json
from typing import Any

from ._errors import FormatError


def parse(data: bytes) -> Any:
    """Return what the text holds.

    Raises
    ------
    FormatError
        It is no JSON, or nested deeper than the interpreter reads.
    """
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise FormatError(f"byte {error.start}: not UTF-8: {error.reason}") from None
    except json.JSONDecodeError as error:
        raise FormatError(
            f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not JSON that can be read: {error}") from None


def member(value: Any, name: str, kind: type, where: str) -> Any:
    """Return a member of an object, of the type it must have; `where` names the object."""
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, kind):
        expected = {"str": "a string", "list": "a list", "dict": "an object"}[kind.__name__]
        raise FormatError(f"{where}: {name} should be {expected}")
    return found
