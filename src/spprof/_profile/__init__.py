"""A profile as data: tables below, questions over them, what users hold above.

Must not know how samples are taken. Only `model` asks the formats, through their registry.
"""

from __future__ import annotations

# What weights measure; "": it is not known. Here, because whoever starts a session asks for it and
# may be unable to import more.
MODES = {"cpu": "CPU time", "wall": "wall time"}
