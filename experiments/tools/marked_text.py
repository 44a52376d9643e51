"""Markdown files that hold a part which a tool writes."""

from __future__ import annotations

from pathlib import Path

from gluon_confseg import files


def replace_between(path: Path, marks: tuple, text: str) -> None:
    """Replace what stands between two marks of a file."""
    files.write_bytes(path, between(path.read_text(encoding="utf-8"), marks, text).encode())


def between(page: str, marks: tuple, text: str) -> str:
    """A page's text with another part between two marks."""
    before, rest = page.split(marks[0])
    after = rest.split(marks[1], 1)[1]  # other parts of a page may end with the same mark
    return f"{before}{marks[0]}\n{text}\n{marks[1]}{after}"
