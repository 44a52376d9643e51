"""Every stage of an experiment, end to end, at a size of seconds."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from experiments import runner, table3
from experiments.recipe import Recipe, StagePlan, branching_stages, four_arms
from gluon_confseg import metrics, report
from gluon_confseg.errors import RunError
from gluon_confseg.runs import RunFolder
from gluon_confseg.subnets import HeadSettings

TINY = dataclasses.replace(
    table3.RECIPES["smoke"],
    head=HeadSettings(channels=8, depth=2, dilation=1, stages=(3,)),
    subnet_head=HeadSettings(channels=8, depth=2, dilation=1, stages=(2, 3)),
    crop=(32, 32),
    draw={"train": 4, "val": 2, "size": (128, 64), "seed": 0},
    matrix_images=2,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe")
    return runner.run(TINY, folder / "scenes", folder / "run"), folder


def results(run) -> dict:
    return json.loads((run.path / "results.json").read_text())


def test_a_run_ends_with_every_arm_scored_from_its_own_matrix(finished):
    run, _ = finished
    with np.load(run.path / "confusion.npz") as archive:
        for arm in results(run)["arms"]:
            counts = archive[arm["key"]]
            assert arm["mean_iou"] == metrics.mean_of_defined(metrics.iou(counts))
            assert counts.sum() > 0
    assert [arm["key"] for arm in results(run)["arms"]] == [arm.key for arm in four_arms()]


def test_the_first_line_says_that_drawn_scenes_are_not_cityscapes(finished):
    run, _ = finished
    assert results(run)["first_line"].startswith(
        "Data: street scenes drawn by gluon-confseg (not Cityscapes)"
    )


def test_every_stage_is_logged_and_leaves_its_checkpoint(finished):
    run, _ = finished
    stages = [plan.name for plan in TINY.stages]
    assert [record["stage"] for record in run.logged()] == stages
    assert all(run.finished(stage).exists() for stage in stages)
    assert not list(run.path.glob("checkpoints/*progress*"))


def test_arms_with_and_without_subnets_share_encoder_and_subnet_0(finished):
    run, _ = finished
    with np.load(run.finished("ce")) as baseline, np.load(run.finished("subnets_ce")) as with_subnets:
        shared = [name for name in baseline.files if name.startswith("parameter:")]
        assert shared
        for name in shared:
            np.testing.assert_array_equal(baseline[name], with_subnets[name])


def test_a_finished_run_is_not_trained_again(finished):
    run, folder = finished
    before = {path: path.stat().st_mtime_ns for path in run.path.glob("checkpoints/*.npz")}
    runner.run(TINY, folder / "scenes", folder / "run")
    assert before == {path: path.stat().st_mtime_ns for path in run.path.glob("checkpoints/*.npz")}


def test_another_configuration_in_the_same_folder_is_one_sentence(finished):
    _, folder = finished
    with pytest.raises(RunError, match="penalty: 5.0 there, 1.0 now"):
        runner.run(dataclasses.replace(TINY, penalty=1.0), folder / "scenes", folder / "run")


def test_a_stage_with_another_setting_is_named(tmp_path):
    RunFolder(tmp_path, dataclasses.asdict(TINY))
    stages = (TINY.stages[0], dataclasses.replace(TINY.stages[1], epochs=7), *TINY.stages[2:])
    with pytest.raises(RunError, match=r"\(stages.ce.epochs: 1 there, 7 now\)"):
        RunFolder(tmp_path, dataclasses.asdict(dataclasses.replace(TINY, stages=stages)))


@pytest.mark.parametrize("content", ["[]", '{"stages": [{"epochs": 3}]}', '{"stages": 7}'])
def test_a_folder_with_a_foreign_configuration_is_one_sentence(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(RunError, match="config.json: is no run's configuration; choose another folder"):
        RunFolder(tmp_path, dataclasses.asdict(TINY))
    assert (tmp_path / "config.json").read_text() == content


def test_a_recipe_that_gains_a_stage_goes_on_in_its_folder(tmp_path):
    RunFolder(tmp_path, dataclasses.asdict(TINY))
    ce = TINY.stage("ce")
    longer = dataclasses.replace(ce, name="longer", start="ce")
    gained = dataclasses.replace(TINY, stages=(*TINY.stages, longer))
    RunFolder(tmp_path, dataclasses.asdict(gained))
    # and one that lost it again: what it made is still there, and may not be trained by other settings
    RunFolder(tmp_path, dataclasses.asdict(TINY))
    changed = dataclasses.replace(gained, stages=(*TINY.stages, dataclasses.replace(longer, epochs=9)))
    with pytest.raises(RunError, match="stages.longer.epochs"):
        RunFolder(tmp_path, dataclasses.asdict(changed))


def test_the_report_is_written_from_the_run_folder(finished):
    run, _ = finished
    page = report.write(run.path).read_text()
    for arm in results(run)["arms"]:
        assert f"{100 * arm['mean_iou']:.2f}" in page


def test_a_recipe_refuses_a_stage_that_starts_from_none():
    stages = (StagePlan("ce", "base", "baseline", "CE", 1, 0.1),)
    with pytest.raises(ValueError):
        Recipe("x", "x", "cityscapes", stages, four_arms(), matrix_stage="ce")
    with pytest.raises(ValueError, match="subnets_new is no stage"):
        Recipe("x", "x", "cityscapes", branching_stages(1, 1, 1, 0.1, 0.1, 0.1)[:4], four_arms(), "base")


def test_a_run_that_reads_packs_ends_with_the_same_bits(finished, tmp_path):
    run, folder = finished
    packed = runner.run(TINY, folder / "scenes", tmp_path / "run", packs=tmp_path / "packs")
    assert results(packed) == results(run)
    assert sorted(path.name for path in (tmp_path / "packs").iterdir()) == ["train", "val"]
