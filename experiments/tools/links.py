"""Looks for broken links in the Markdown files of a checkout, and in the built pages of the documentation.

Run:   .venv/bin/python -m experiments.tools.links                       the Markdown files
       .venv/bin/python -m experiments.tools.links --built build/docs    the pages that Sphinx built as well
Cost:  a second
Gives: a line for each broken link, and then exit status 1. A link to a file or to a heading of this project is broken
       where that is not there, and so is the name of a file between backticks. Of a link to another site only the form
       is looked at, since the site may be out of reach.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gluon_confseg.cli import frame
from gluon_confseg.errors import RunError

from .. import PROJECT, argument_parser

LEFT_OUT = ("build", "dist", "runs")  # folders at the top; so are those whose names begin with a dot
PAST = ("CHANGELOG.md", "docs/decisions.md")  # they may name files that are gone
FOLDERS = ("docs", "data", "experiments", "gluon_confseg", "requirements", "symbols", "tests")
_FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1`*\s*$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:\A|\n[ \t]*\n)((?: {4}.*\n|[ \t]*\n)+)")
_CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)
_INLINE = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]*)>?(?:\s+\"[^\"]*\")?\s*\)")
_BARE = re.compile(r"<(https?:[^>\s]*)>|(?:href|src|srcset)=\"([^\"]*)\"")
_ENDINGS = "md|py|json|jsonl|txt|ipynb|svg|png|sh|cc|h"
_FILE = re.compile(
    rf"(?:{'|'.join(FOLDERS)})/[\w./-]*(?:README|[a-z0-9_])\.(?:{_ENDINGS})\b"
)  # NAME.py is no name


def main(argv: list | None = None) -> int:
    """Look at all; the exit status."""
    parser = argument_parser("tools.links", __doc__)
    parser.add_argument("--built", type=Path, metavar="FOLDER", help="what Sphinx built")
    arguments = parser.parse_args(argv)
    return frame.run(lambda: _run(arguments.built))


def _run(built: Path | None) -> None:
    pages = markdown_files(PROJECT)
    broken = [fault for page in pages for fault in of_markdown(page, PROJECT)]
    told = f"{len(pages)} Markdown files"
    if built is not None:
        html = sorted(built.rglob("*.html"))
        if not html:
            raise RunError(f"{built}: holds no built page; give the folder that Sphinx wrote to")
        broken += of_pages(built, html)
        told += f", {len(html)} built pages"
    if broken:
        print("\n".join(broken))
        raise RunError(f"{len(broken)} broken links in {told}")
    print(f"{told}: no broken link")


def markdown_files(root: Path) -> list:
    """The project's Markdown files."""
    found = sorted(root.rglob("*.md"))
    kept = [path for path in found if not path.relative_to(root).parts[0].startswith((".", *LEFT_OUT))]
    return [path for path in kept if path.parent.parent.parent != root / "data"]  # a data set's own


def of_markdown(page: Path, root: Path) -> list:
    """A line for each broken link of a Markdown file, and for each file that it names in vain."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    prose, name = _INDENTED.sub("\n", text), page.relative_to(root)
    named = _FILE.findall(" ".join(code for _, code in _CODE.findall(prose))) if str(name) not in PAST else []
    missing = [f"{name}: there is no {file}" for file in dict.fromkeys(named) if not (root / file).exists()]
    prose = _CODE.sub("", prose)
    targets = _INLINE.findall(prose)
    targets += [target for pair in _BARE.findall(prose) for target in pair if target]
    faults = [(target, fault(target, page)) for target in dict.fromkeys(targets)]
    return missing + [f"{name}: {target or 'a link'}: {why}" for target, why in faults if why]


def fault(target: str, page: Path) -> str:
    """What is wrong with a link of a Markdown file; "" where nothing is."""
    parts = urlsplit(target)
    if parts.scheme or target.startswith("//"):
        return _of_other_site(parts)
    file = page if not parts.path else (page.parent / unquote(parts.path))
    if not file.exists():
        return "there is no such file"
    if parts.fragment and file.suffix == ".md" and unquote(parts.fragment) not in headings(file):
        return "the page has no such heading"
    return "" if target else "leads nowhere"


def headings(page: Path) -> set:
    """The anchors of a Markdown file's headings, as viewers of repositories make them."""
    found: dict = {}
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for title in re.findall(r"^#{1,6} +(.+?) *#*$", text, re.MULTILINE):
        plain = _INLINE.sub(lambda link: link[0].split("](")[0][1:], title).replace("`", "").replace("*", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {
        f"{slug}-{number}" if number else slug for slug, last in found.items() for number in range(last + 1)
    }


def _of_other_site(parts) -> str:
    if parts.scheme == "mailto":
        return "" if "@" in parts.path else "is no address"
    if parts.scheme not in ("http", "https"):
        return f"{parts.scheme or 'no scheme'} is not http or https"
    return "" if re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?", parts.netloc) else "has no name of a site"


class _Page(HTMLParser):
    """The links and anchors of a built page."""

    def __init__(self):
        super().__init__()
        self.links, self.anchors = [], set()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        wanted = {
            "a": "href",
            "link": "href",
            "img": "src",
            "script": "src",
            "source": "srcset",
            "form": "action",
        }
        if tag in wanted and given.get(wanted[tag]):
            self.links.append((tag, given[wanted[tag]]))


def of_pages(folder: Path, pages: list) -> list:
    """A line for each broken link of built pages, and for each thing that they would fetch from another site."""
    read = {}
    for page in pages:
        read[page.resolve()] = _Page()
        read[page.resolve()].feed(page.read_text(encoding="utf-8"))
    broken = []
    for page, found in read.items():
        for tag, link in dict.fromkeys(found.links):
            why = _of_page(tag, link, page, read)
            if why:
                broken.append(f"{page.relative_to(folder.resolve())}: {link}: {why}")
    return broken


def _of_page(tag: str, link: str, page: Path, read: dict) -> str:
    parts = urlsplit(link)
    if parts.scheme == "data":
        return ""
    if parts.scheme or link.startswith("//"):
        return _of_other_site(parts) if tag == "a" else "is fetched from another site"
    file = page if not parts.path else (page.parent / unquote(parts.path)).resolve()
    if not file.is_file():
        return "there is no such file"
    if parts.fragment and file in read and unquote(parts.fragment) not in read[file].anchors:
        return "the page has no such place"
    return ""


if __name__ == "__main__":
    sys.exit(main())
