"""Markdown files that hold a part which a tool writes."""

from __future__ import annotations

from pathlib import Path

from gluon_confseg import files


def replace_between(path: Path, marks: tuple, text: str) -> None:
    """Replace what stands between two marks of a file."""
    before, rest = path.read_text(encoding="utf-8").split(marks[0])
    after = rest.split(marks[1])[1]
    files.write_bytes(path, f"{before}{marks[0]}\n{text}\n{marks[1]}{after}".encode())
