"""A table as data, and its three forms: Markdown, plain text and HTML."""

from __future__ import annotations

import dataclasses
import html
import re
import textwrap

from gluon_confseg.terminal import printable


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table of strings; `words` columns from the left are words, the rest are numbers and stand right."""

    head: list
    rows: list
    words: int = 1

    def markdown(self) -> str:
        """As a Markdown table; class names are escaped."""
        rule = ["---" if column < self.words else "---:" for column in range(len(self.head))]
        head, *body = ([escaped(cell) for cell in row] for row in [self.head, *self.rows])
        return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *body])

    def text(self, widest: int = 36) -> str:
        """As aligned plain text; cells of words are wrapped at `widest` characters."""
        lines = [line for row in [self.head, *self.rows] for line in _wrapped(row, self.words, widest)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.head))]
        aligned = [
            "  ".join(
                cell.ljust(width) if column < self.words else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths))
            ).rstrip()
            for line in lines
        ]
        below = len(_wrapped(self.head, self.words, widest))
        return "\n".join([*aligned[:below], "-" * (sum(widths) + 2 * len(widths) - 2), *aligned[below:]])

    def html(self) -> str:
        """As an HTML table; every cell is escaped, numbers stand right."""
        body = "".join(f"<tr>{self._cells(row, 'td')}</tr>" for row in self.rows)
        head = f"<thead><tr>{self._cells(self.head, 'th')}</tr></thead>"
        return f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>'

    def _cells(self, row: list, tag: str) -> str:
        kinds = [
            "n" if column >= self.words else "" if len(cell) > 24 else "s" for column, cell in enumerate(row)
        ]
        return "".join(f'<{tag} class="{kind}">{html.escape(cell)}</{tag}>' for kind, cell in zip(kinds, row))


def escaped(text: str) -> str:
    """Text that Markdown shows as it is: no links, no HTML, no other marks, on one line."""
    text = html.escape(printable(" ".join(text.split())), quote=False)
    return re.sub(r"[\\`*_\[\]|~$]|:(?=//)", r"\\\g<0>", text)


def _wrapped(row: list, words: int, widest: int) -> list:
    cells = [
        textwrap.wrap(cell, widest) or [""] if column < words else [cell] for column, cell in enumerate(row)
    ]
    height = max(len(cell) for cell in cells)
    return [[cell[line] if line < len(cell) else "" for cell in cells] for line in range(height)]
