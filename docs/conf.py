"""Sphinx's settings for the documentation: `make docs` builds it into build/docs.

The source folder is the whole checkout, so that links between pages in docs/, data/ and experiments/ are the same here
as in a viewer of the repository. Nothing is fetched while it is built, nor by the built pages.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from docutils import nodes

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import gluon_confseg  # noqa: E402

project = "gluon-confseg"
author = "The gluon-confseg developers"
copyright = f"2026, {author}. Apache 2.0"
version = release = gluon_confseg.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "data/README.md",
    "data/*/README.md",
    "experiments/README.md",
    "symbols/README.md",
    "gluon_confseg/demo/card.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
]
# folders that are not walked through, data sets above all
exclude_patterns = [
    ".*",
    "build",
    "dist",
    "runs",
    "tests",
    "data/*/[!R]*",
    "experiments/[!R]*",
    "gluon_confseg/[!d]*",
]

myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
default_role = "code"  # of docstrings, whose names stand in single backticks

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say what goes in and out, with shapes and units
autodoc_default_options = {"members": True}

html_theme = "furo"
html_title = "gluon-confseg"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_additional_pages = {"index": "start.html"}  # build/docs/index.html leads to the first page
templates_path = ["_templates"]
html_theme_options = {"top_of_page_buttons": []}

# ---- docstrings: plain text with columns of names and what they are

_COLUMN = re.compile(r"^(?P<name>[\w\"*`][^ ]*(?: ?[,=] ?[^ ]+| \([^)]*\))*) {2,}(?P<text>\S.*)$")


def plain_to_rst(lines: list) -> list:
    """A docstring's lines in reStructuredText: columns become definitions, and no sign means more than itself."""
    found, in_column = [], False
    for line in lines:
        column = _COLUMN.match(line)
        if column and not line.startswith(" "):
            if found and found[-1] and not in_column:
                found.append("")
            found += [f"``{column['name'].strip('`')}``", f"    {_escaped(column['text'])}"]
            in_column = True
        elif in_column and line.startswith("  "):
            found.append(f"    {_escaped(line.strip())}")
        else:
            if in_column and line.strip():
                found.append("")
            in_column = in_column and not line.strip()
            found.append(_escaped(line))
    return found


def _escaped(text: str) -> str:
    """Text whose stars, bars and final underscores are themselves, but for what stands in backticks."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"([*|\\]|_(?!\w))", r"\\\1", part) for part in parts
    )


def read_docstring(app, what, name, obj, options, lines) -> None:
    """Read by `plain_to_rst`; what stands in the docstring of a constant is that of its type."""
    lines[:] = [] if what == "data" else plain_to_rst(lines)


# ---- drawings: each has a version for dark pages beside it


def add_dark_versions(app, tree) -> None:
    """Put NAME-dark.svg beside each picture NAME.svg that has one; the theme shows one of the two."""
    folder = (ROOT / app.env.docname).parent
    for image in list(tree.findall(nodes.image)):
        dark = image["uri"].replace(".svg", "-dark.svg")
        if dark != image["uri"] and (folder / dark).is_file():
            other = image.deepcopy()
            other["uri"] = dark
            image["classes"].append("only-light")
            other["classes"].append("only-dark")
            image.parent.insert(image.parent.index(image) + 1, other)


def setup(app) -> None:
    """Connect the two to Sphinx, the second before it collects pictures."""
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("doctree-read", add_dark_versions, priority=100)
