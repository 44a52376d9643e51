"""No link of the Markdown files is broken, and a broken one is found."""

from __future__ import annotations

import pytest

from experiments import PROJECT
from experiments.tools import links


def test_no_link_of_the_project_is_broken():
    pages = links.markdown_files(PROJECT)
    assert PROJECT / "README.md" in pages and PROJECT / "docs" / "cli.md" in pages
    assert [fault for page in pages for fault in links.of_markdown(page, PROJECT)] == []


@pytest.fixture
def page(tmp_path):
    """Write a page beside another one, and return its faults."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "other.md").write_text(
        "# A title, with `code`\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n"
    )

    def faults(text: str) -> list:
        (tmp_path / "docs" / "page.md").write_text(f"# Here\n\n{text}\n")
        return links.of_markdown(tmp_path / "docs" / "page.md", tmp_path)

    return faults


@pytest.mark.parametrize(
    "text",
    [
        "[a](other.md)",
        "[a](other.md#a-title-with-code)",
        "[a](other.md#twice-1)",
        "[a](#here)",
        "![a](../docs/other.md)",
        "<https://example.org/x>",
        "[a](https://example.org)",
        "`[a](gone.md)`",
        "    [a](gone.md)",
        "```\n[a](gone.md)\n```",
        "`docs/other.md`",
        "`docs/NAME.md`",
        '<img src="other.md">',
    ],
)
def test_a_link_that_leads_somewhere_is_none(page, text):
    assert page(text) == []


@pytest.mark.parametrize(
    "text, why",
    [
        ("[a](gone.md)", "no such file"),
        ("[a](other.md#gone)", "no such heading"),
        ("[a](other.md#no-heading)", "heading"),
        ("[a](other.md#twice-2)", "no such heading"),
        ("![a](gone.png)", "no such file"),
        ("[a](http:/example.org)", "site"),
        ("<https://>", "site"),
        ("[a](ftp://example.org)", "not http"),
        ("`docs/gone.md`", "there is no docs/gone.md"),
        ('<source srcset="gone.svg">', "no such file"),
        ("[several\nlines](gone.md)", "no such file"),
        ("[a]()", "nowhere"),
    ],
)
def test_a_broken_link_is_found(page, text, why):
    (fault,) = page(text)
    assert why in fault and fault.startswith("docs/page.md: ")


def test_built_pages_are_held_against_each_other(tmp_path):
    (tmp_path / "a.html").write_text('<p id="here"></p><a href="b.html#there">b</a><a href="#here">here</a>')
    (tmp_path / "b.html").write_text(
        '<h1 id="there"></h1><img src="data:image/png;base64,AA"><a href="https://a.org">a</a>'
    )
    pages = sorted(tmp_path.glob("*.html"))
    assert links.of_pages(tmp_path, pages) == []
    (tmp_path / "b.html").write_text(
        '<a href="a.html#gone"></a><script src="https://a.org/x.js"></script><img src="c.png">'
    )
    assert links.of_pages(tmp_path, pages) == [
        "a.html: b.html#there: the page has no such place",
        "b.html: a.html#gone: the page has no such place",
        "b.html: https://a.org/x.js: is fetched from another site",
        "b.html: c.png: there is no such file",
    ]


def test_the_command_fails_where_a_link_is_broken(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(links, "PROJECT", tmp_path)
    (tmp_path / "a.md").write_text("[b](b.md)")
    assert links.main([]) == 1 and "1 broken links in 1 Markdown files" in capsys.readouterr().err
    (tmp_path / "b.md").write_text("# b")
    assert links.main([]) == 0 and "no broken link" in capsys.readouterr().out
