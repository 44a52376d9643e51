"""The picture of a result: which images it shows, and that its caption says what they are."""

from __future__ import annotations

import json
import re

import cv2
import fake_run
import numpy as np
import pytest

from experiments import PROJECT
from experiments.tools import result_picture
from gluon_confseg import checkpoint
from gluon_confseg.errors import RunError
from gluon_confseg.predictions import Keeper
from gluon_confseg.run_folder import read_predictions


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run with two images, and copies of the pages that show its picture."""
    for page in result_picture.PAGES:
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / page).write_text((PROJECT / page).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(result_picture, "PROJECT", tmp_path)
    monkeypatch.setattr(result_picture, "PICTURE", tmp_path / "docs" / "images" / "result.png")
    folder = fake_run.make(tmp_path / "run", images=2)
    results = json.loads((folder / "results.json").read_text())
    results["training"]["profile"] = "quick"
    fake_run.write(folder / "results.json", results)
    for key, kept in (
        ("subnet0_ce", (0.5, 0.5)),
        ("subnets_confusion_ce", (0.9, 0.2)),
    ):  # shares of right pixels
        cell = next(cell for cell in results["cells"] if cell["key"] == key)
        keeper = Keeper([fake_run.rule_of(cell)], range(2))
        for index, share in enumerate(kept):
            truth = read(folder, index)
            right = np.random.RandomState(index).rand(*truth.shape) < share
            keeper.add(
                index, {fake_run.rule_of(cell): np.where(right, truth, (truth + 1) % 6).astype(np.uint8)}
            )
        file = folder / "checkpoints" / f"{fake_run.phase_of(cell)}.predictions.npz"
        checkpoint.save(file, keeper.kept().arrays(), {"phase": fake_run.phase_of(cell)})
    return folder


def read(folder, index):
    """The labels of an image that the run keeps."""
    return cv2.imread(str(folder / "examples" / f"{index:05d}.png"), cv2.IMREAD_GRAYSCALE)


def test_the_image_that_is_mended_most_comes_first_and_the_other_is_shown_as_well(run, tmp_path, capsys):
    assert result_picture.main([str(run)]) == 0
    said = capsys.readouterr().out
    before, after = result_picture.cells(run, json.loads((run / "results.json").read_text()))
    assert (before["key"], after["key"]) == ("subnet0_ce", "subnets_confusion_ce")
    shares = [
        float(share) for share in re.findall(r"from ([\d.]+) to", said) + re.findall(r"to ([\d.]+) %", said)
    ]
    expected = []
    for cell in (before, after):
        predictions = read_predictions(run, fake_run.phase_of(cell))
        for index in (0, 1):
            truth, ids = read(run, index), predictions.read(fake_run.rule_of(cell), index)
            expected.append(round(100 * float(np.mean(ids[truth != 255] != truth[truth != 255])), 1))
    assert shares == expected and shares[2] < shares[0] and shares[3] > shares[1]
    for page, folder in result_picture.PAGES.items():
        text = (tmp_path / page).read_text(encoding="utf-8")
        assert f"]({folder}/result.png)" in text and said.split("\n\n")[1].strip() in text
    assert cv2.imread(str(tmp_path / "docs" / "images" / "result.png")).shape[1] > 1000


def test_a_run_without_subnets_is_refused(run):
    results = json.loads((run / "results.json").read_text())
    results["cells"] = results["cells"][:1]
    with pytest.raises(RunError, match="with and without subnets"):
        result_picture.cells(run, results)
