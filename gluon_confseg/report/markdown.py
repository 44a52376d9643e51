"""A report as Markdown, with its pictures beside it."""

from __future__ import annotations

from gluon_confseg.report.document import Fold, Heading, Text
from gluon_confseg.report.grid import Grid, escaped


def page(first_line: str, title: str, blocks: list) -> str:
    """The whole text: `first_line` first, then the title, then the blocks; pictures are links to files."""
    parts = [escaped(first_line), f"# {escaped(title)}", *(_block(block) for block in blocks)]
    return "\n\n".join(parts) + "\n"


def _block(block) -> str:
    if isinstance(block, Heading):
        return f"## {escaped(block.text)}"
    if isinstance(block, Text):
        return f"**{escaped(block.text)}**" if block.strong else escaped(block.text)
    if isinstance(block, Grid):
        return block.markdown()
    if isinstance(block, Fold):
        return "\n\n".join([f"### {escaped(block.title)}", *(_block(part) for part in block.blocks)])
    return f"![{escaped(block.caption)}](pictures/{block.name})\n\n{escaped(block.caption)}"
