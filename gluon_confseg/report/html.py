"""A report as one page that needs nothing else: pictures inside, no scripts, light and dark."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from gluon_confseg.report.document import Command, Fold, Heading, Sentences, Text
from gluon_confseg.report.grid import Grid
from gluon_confseg.terminal import printable

_STYLE = """
:root { color-scheme: light dark;
  --ink: #1f2328; --faint: #59636e; --line: #d1d9e0; --paper: #ffffff; --tint: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --faint: #9198a1; --line: #3d444d; --paper: #0d1117; --tint: #151b23; } }
body { margin: 0 auto; max-width: 1120px; padding: 1.5rem 1.25rem 4rem;
  background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
.data { margin: 0 0 1.2rem; padding: .6rem .9rem; border-left: 4px solid #c8500a; background: var(--tint); }
h1 { margin: 0 0 .4rem; font-size: 1.6rem; line-height: 1.25; }
h2 { margin: 2.6rem 0 .6rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line);
  font-size: 1.2rem; }
p { margin: .6rem 0; max-width: 76ch; }
li { margin: .35rem 0; max-width: 76ch; }
pre { margin: .8rem 0; padding: .6rem .9rem; overflow-x: auto; background: var(--tint); font-size: .875rem; }
.wide { overflow-x: auto; }
table { margin: .8rem 0; border-collapse: collapse; font-size: .9rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { border-bottom-width: 2px; vertical-align: bottom; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.s { white-space: nowrap; }
th.n { white-space: normal; }
figure { margin: 1.2rem 0; }
figure img { display: block; max-width: 100%; height: auto; border-radius: 6px; background: #ffffff; }
figcaption { margin-top: .35rem; color: var(--faint); font-size: .875rem; }
summary { margin: 1rem 0; cursor: pointer; font-weight: 600; }
@media print { body { max-width: none; } figure, tr { break-inside: avoid; } }
"""


def page(first_line: str, title: str, blocks: list, pictures: Path) -> str:
    """The whole page: `first_line` first, then the title, then the blocks with their files of `pictures`."""
    body = "\n".join(_block(block, pictures) for block in blocks)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n"
        f'<style>{_STYLE}</style>\n</head>\n<body>\n<p class="data">{escape(first_line)}</p>\n'
        f"<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _block(block, pictures: Path) -> str:
    if isinstance(block, Heading):
        return f"<h2>{escape(block.text)}</h2>"
    if isinstance(block, Text):
        text = escape(block.text)
        return f"<p><strong>{text}</strong></p>" if block.strong else f"<p>{text}</p>"
    if isinstance(block, Sentences):
        lines = [f"<li><strong>{escape(about)}.</strong> {escape(text)}</li>" for about, text in block.pairs]
        return "<ol>\n" + "\n".join(lines) + "\n</ol>"
    if isinstance(block, Command):
        return "<pre>" + "\n".join(escape(printable(line)) for line in block.lines) + "</pre>"
    if isinstance(block, Grid):
        return block.html()
    if isinstance(block, Fold):
        inside = "\n".join(_block(part, pictures) for part in block.blocks)
        return f"<details><summary>{escape(block.title)}</summary>\n{inside}\n</details>"
    png = base64.b64encode((pictures / block.name).read_bytes()).decode("ascii")
    caption = escape(block.caption)
    image = f'<img alt="{caption}" src="data:image/png;base64,{png}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
