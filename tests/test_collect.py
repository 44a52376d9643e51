"""The results in experiments/README.md are made from the files in experiments/results/ alone."""

from __future__ import annotations

from experiments import PROJECT
from experiments.tools import collect
from experiments.tools.marked_text import between
from gluon_confseg.run_folder import read_json


def test_the_page_holds_the_table_of_the_committed_results():
    kept = [read_json(file) for file in sorted(collect.FOLDER.glob("*.json"))]
    page = (PROJECT / "experiments" / "README.md").read_text(encoding="utf-8")
    assert kept and collect.table(kept) in page
    assert f"{collect.MARKS[0]}\n{collect.page(kept)}\n{collect.MARKS[1]}" in page


def test_a_row_shows_every_cell_with_its_updates_and_what_was_not_run():
    kept = [read_json(file) for file in sorted(collect.FOLDER.glob("*.json"))]
    head, _, *rows = (line.strip("| ").split(" | ") for line in collect.table(kept).splitlines())
    for results, row in zip(kept, rows):
        shown = dict(zip(collect.COLUMNS, row[head.index("minutes") + 1 :]))
        cells = {cell["key"]: cell for cell in results["cells"]}
        assert set(cells) <= set(shown)
        for key, text in shown.items():
            cell = cells.get(key)
            assert text == (f"{100 * cell['mean_iou']:.2f} ({cell['updates']:,})" if cell else "-")


def test_every_run_is_told_with_its_caution():
    kept = [read_json(file) for file in sorted(collect.FOLDER.glob("*.json"))]
    _, told = collect.page(kept).split("\n\n")
    assert told.count("Caution: this is one seed") == len(kept) == len(told.splitlines())


def test_a_part_of_a_page_ends_at_its_own_mark_though_others_end_alike():
    page = "a\n<1>\nold\n<end>\nb\n<2>\nx\n<end>\nc\n"
    assert between(page, ("<1>", "<end>"), "new") == page.replace("old", "new")
    assert between(page, ("<2>", "<end>"), "new") == page.replace("x", "new")
