"""The committed notebooks: run from top to bottom, and with nothing in them of the machine that they were run on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "experiments" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PLACES = re.compile(r"/(home|root|Users|tmp|var|private)/|\b\d+(\.\d+)? (images/s|s per image)\b")


def code_cells(path: Path) -> list:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def shown(cell: dict) -> str:
    """The text of a cell's outputs."""
    texts = [
        text
        for output in cell["outputs"]
        for text in (output.get("text", []), *output.get("data", {}).values())
    ]
    return "".join(
        part for text in texts for part in ([text] if isinstance(text, str) else text) if len(part) < 2000
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_was_run_once_in_order_and_without_an_error(path):
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not [cell for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_names_a_place_of_a_machine_or_how_fast_it_was(path):
    for cell in code_cells(path):
        assert not [output for output in cell["outputs"] if output.get("name") == "stderr"]
        assert not PLACES.search(shown(cell))


def test_the_readme_lists_every_notebook():
    listed = re.findall(
        r"^\| \[`(\w+)\.ipynb`\]\(\1\.ipynb\) \|", (FOLDER / "README.md").read_text(), re.MULTILINE
    )
    assert sorted(listed) == [path.stem for path in NOTEBOOKS]
