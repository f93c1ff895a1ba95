"""What the site does to its pages: the README is the first one, links out of docs/ become text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]


def on_files(files: Files, config: Any) -> Files:
    """Add the README as the first page."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = text.replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Mend links to what the site does not have."""
    markdown = markdown.replace("](../README.md", "](index.md")
    # [text](../notebooks/x.ipynb) and [MIT](LICENSE): files of the repository.
    outside = re.compile(
        r"(?<!!)\[([^\]]+)\]\((?:\.\./[^)]*|LICENSE|CHANGELOG\.md|notebooks/[^)]*)\)"
    )
    return outside.sub(r"\1", markdown)
