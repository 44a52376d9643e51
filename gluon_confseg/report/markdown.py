"""A report as Markdown, with its pictures beside it."""

from __future__ import annotations

from gluon_confseg.report.document import Command, Fold, Heading, Sentences, Text
from gluon_confseg.report.grid import Grid, escaped
from gluon_confseg.terminal import printable


def page(first_line: str, title: str, blocks: list) -> str:
    """The whole text: `first_line` first, then the title, then the blocks; pictures are links to files."""
    return "\n\n".join([escaped(first_line), f"# {escaped(title)}", body(blocks)]) + "\n"


def body(blocks: list, pictures: str = "pictures") -> str:
    """The blocks alone; `pictures` is the folder that links to pictures name."""
    return "\n\n".join(_block(block, pictures) for block in blocks)


def _block(block, pictures: str) -> str:
    if isinstance(block, Heading):
        return f"## {escaped(block.text)}"
    if isinstance(block, Text):
        return f"**{escaped(block.text)}**" if block.strong else escaped(block.text)
    if isinstance(block, Sentences):
        lines = [f"**{escaped(about)}.** {escaped(text)}" for about, text in block.pairs]
        return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))
    if isinstance(block, Command):
        return "\n".join("    " + printable(line).replace("\n", " ") for line in block.lines)
    if isinstance(block, Grid):
        return block.markdown()
    if isinstance(block, Fold):
        return f"### {escaped(block.title)}\n\n{body(block.blocks, pictures)}"
    return f"![{escaped(block.caption)}]({pictures}/{block.name})\n\n{escaped(block.caption)}"
