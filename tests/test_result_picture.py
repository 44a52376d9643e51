"""The picture of a result: which crops it shows, and that its caption says what they are."""

from __future__ import annotations

import json
import re

import cv2
import fake_run
import numpy as np
import pytest

from experiments import PROJECT
from experiments.tools import result_picture
from gluon_confseg.errors import RunError


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run with two crops, and copies of the pages that show its picture."""
    for page in result_picture.PAGES:
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / page).write_text((PROJECT / page).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(result_picture, "PROJECT", tmp_path)
    monkeypatch.setattr(result_picture, "PICTURE", tmp_path / "docs" / "images" / "result.png")
    folder = fake_run.make(tmp_path / "run")
    results = json.loads((folder / "results.json").read_text())
    results["training"]["profile"] = "quick"
    fake_run.write(folder / "results.json", results)
    for name, keep in (("scene0", 0.9), ("scene1", 0.2)):  # the share of right pixels with all subnets
        truth = cv2.imread(str(folder / "panels" / name / "truth.png"), cv2.IMREAD_GRAYSCALE)
        right = np.random.RandomState(0).rand(2, *truth.shape) < np.array([0.5, keep])[:, None, None]
        for key, ids in zip(("subnet0_ce", "subnets_confusion_ce"), np.where(right, truth, (truth + 1) % 6)):
            cv2.imwrite(str(folder / "panels" / name / f"{key}.png"), ids)
    return folder


def test_the_crop_that_is_mended_most_comes_first_and_the_other_is_shown_as_well(run, tmp_path, capsys):
    assert result_picture.main([str(run)]) == 0
    said = capsys.readouterr().out
    before, after = result_picture.cells(run, json.loads((run / "results.json").read_text()))
    assert (before["key"], after["key"]) == ("subnet0_ce", "subnets_confusion_ce")
    shares = [
        float(share) for share in re.findall(r"from ([\d.]+) to", said) + re.findall(r"to ([\d.]+) %", said)
    ]
    expected = []
    for key in ("subnet0_ce", "subnets_confusion_ce"):
        for name in ("scene0", "scene1"):
            truth, ids = (
                cv2.imread(str(run / "panels" / name / f"{each}.png"), cv2.IMREAD_GRAYSCALE)
                for each in ("truth", key)
            )
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
