"""The table of results in experiments/README.md is made from the files in experiments/results/ alone."""

from __future__ import annotations

from experiments import PROJECT
from experiments.tools import collect
from gluon_confseg.run_folder import read_json


def test_the_page_holds_the_table_of_the_committed_results():
    kept = [read_json(file) for file in sorted(collect.FOLDER.glob("*.json"))]
    page = (PROJECT / "experiments" / "README.md").read_text(encoding="utf-8")
    assert kept and collect.table(kept) in page
