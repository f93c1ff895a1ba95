"""Libraries of machine code that tests write themselves."""

from __future__ import annotations

import subprocess
from pathlib import Path


def library(folder: Path, source: str) -> str:
    """Path of a library made of C source."""
    (folder / "library.c").write_text(source)
    path = folder / "library.so"
    command = ["cc", "-O1", "-shared", "-fPIC", "-o", str(path), str(folder / "library.c")]
    subprocess.run([*command, "-ldl", "-lpthread"], check=True)
    return str(path)
