"""Dry runs: the runner's own stages on a handful of images, what is measured, and what is made of it."""

from __future__ import annotations

import dataclasses
import json
import tempfile

import numpy as np
import pytest
from layouts import make_cityscapes

from experiments import dry_data, dry_run, estimate, resident, table3, table5
from experiments.recipe import Arm, StagePlan
from gluon_confseg import engine
from gluon_confseg.errors import DatasetError, RunError
from gluon_confseg.subnets import HeadSettings

TINY = dataclasses.replace(
    table3.RECIPES["smoke"],
    head=HeadSettings(channels=8, depth=2, dilation=1, stages=(3,)),
    subnet_head=HeadSettings(channels=8, depth=2, dilation=1, stages=(2, 3)),
    crop=(32, 32),
    batch_size=4,
    draw={"train": 8, "val": 4, "size": (128, 64)},
    arms=(*table3.RECIPES["smoke"].arms, Arm("all_ce_product", "0-3", "CE", "subnets_ce", rule="product")),
)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A dry run's record, and the folder of its temporary files."""
    place, before = tmp_path_factory.mktemp("temporary"), tempfile.tempdir
    tempfile.tempdir = str(place)
    try:
        return dry_run.run(TINY), place
    finally:
        tempfile.tempdir = before


def test_every_stage_takes_two_steps_and_every_cell_is_read(found):
    record, _ = found
    assert [stage["name"] for stage in record["stages"]] == [plan.name for plan in TINY.stages]
    assert all(len(stage["seconds_per_step"]) == 2 and stage["mean_loss"] > 0 for stage in record["stages"])
    assert [cell["key"] for cell in record["cells"]] == [arm.key for arm in TINY.arms]
    assert all(cell["seconds_per_image"] > 0 and cell["rule"] for cell in record["cells"])


def test_the_same_network_is_evaluated_once(found):
    record, _ = found
    assert [(e["stage"], e["test"]) for e in record["evaluations"]] == [
        ("subnets_ce", "single"),
        ("subnets_new", "single"),
    ]


def test_networks_that_differ_in_values_alone_are_timed_once(found):
    record, _ = found
    assert len({e["seconds_per_image"] for e in record["evaluations"]}) == 1


def test_a_baseline_cell_needs_no_subnets():
    names = [plan.name for plan in TINY.needed(TINY.cells(["subnet0_new"]))]
    assert names == ["base", "new_ce"]


def test_nothing_is_left_behind(found):
    _, place = found
    assert not list(place.iterdir())


def test_the_record_is_json_and_every_name_is_in_the_text(found):
    record, _ = found
    assert json.loads(json.dumps(record)) == record
    page = estimate.text(record)
    for name in [stage["name"] for stage in record["stages"]] + [cell["key"] for cell in record["cells"]]:
        assert name in page
    assert "random values" in page


def test_peaks_hold_what_the_network_takes(found):
    record, _ = found
    for stage in record["stages"]:
        memory = stage["memory"]
        assert 0 < memory["base"] <= memory["steps"] <= memory["peak"] <= record["whole"]["memory_here"]
        assert memory["momentum"] < stage["checkpoint"] < stage["progress"]


def test_the_disk_holds_all_results_and_two_states_of_the_largest_stage(found):
    record, _ = found
    whole, stages = record["whole"], record["stages"]
    kept = sum(stage["checkpoint"] for stage in stages) + sum(e["file"] for e in record["evaluations"])
    assert whole["run_folder"] == kept
    assert whole["run_folder_at_most"] == kept + 2 * max(stage["progress"] for stage in stages)


def test_a_cell_alone_takes_what_its_stages_take(found):
    record, _ = found
    cell = record["cells"][0]
    needed = [plan.name for plan in TINY.needed(TINY.cells(["subnet0_ce"]))]
    hours = sum(stage["hours"] for stage in record["stages"] if stage["name"] in needed)
    hours += sum(matrix["hours"] for matrix in record["matrices"]) + cell["evaluation_hours"]
    assert cell["hours"] == pytest.approx(hours)


def test_a_full_batch_is_extrapolated_from_the_second_step_and_by_images():
    recipe = dataclasses.replace(table3.RECIPES["full"], batch_size=16)
    figures = dry_run.StageFigures(2, seconds=[9.0, 4.0], base=1000, steps_peak=1500, peak=1600, momentum=100)
    few = dry_data.Few(None, None, {"train": 2975, "val": 500}, 0, True)
    stage = estimate._stage(recipe, recipe.stage("ce"), figures, few)
    assert stage["steps"] == 100 * 185  # the rest of an epoch is left out
    assert stage["hours"] == pytest.approx(18500 * 4.0 / 2 * 16 / 3600)
    assert stage["memory_of_batch"] == 1000 + 100 + 16 * 200


def test_asked_for_its_run_folder_is_kept_and_not_taken_for_another_run(tmp_path):
    out = tmp_path / "kept"
    record = dry_run.run(TINY, out=out, cells=["all_ce"], images=2)
    assert json.loads((out / "config.json").read_text())["dry_run"] is True
    assert (out / "checkpoints" / "subnets_ce.npz").stat().st_size == record["stages"][-1]["checkpoint"]
    assert [stage["images_per_step"] for stage in record["stages"]] == [2, 2, 2]
    with pytest.raises(RunError, match="kept: is there already"):
        dry_run.run(TINY, out=out)


def test_with_a_root_its_own_images_are_counted_and_the_first_are_taken(tmp_path):
    for split in ("train", "val"):
        make_cityscapes(tmp_path, split, per_city=3)
    few = dry_data.few(table3.RECIPES["full"], tmp_path, tmp_path / "unused", 4)
    assert few.counts == {"train": 6, "val": 6} and not few.drawn
    assert (len(few.train), len(few.val)) == (4, 1)
    sizes = [path.stat().st_size for path in tmp_path.rglob("*.png")]
    assert few.bytes == sum(sizes)
    with pytest.raises(RunError, match="split train has 6 images, a dry run wants 7"):
        dry_data.few(table3.RECIPES["full"], tmp_path, tmp_path / "unused", 7)
    with pytest.raises(DatasetError):
        dry_data.few(table3.RECIPES["full"], tmp_path / "nowhere", tmp_path / "unused", 4)


def test_voc_is_drawn_in_its_own_layout_and_classes(tmp_path):
    recipe = dataclasses.replace(table5.RECIPES["full"], draw={"size": (80, 60)})
    few = dry_data.few(recipe, None, tmp_path, 2)
    image, mask = few.train[0]
    assert image.shape == (60, 80, 3) and few.train.num_classes == 21
    assert set(np.unique(mask)) <= {*range(21), 255}
    assert few.counts == {"train": 10_582, "val": 1449}


def test_what_can_not_be_drawn_asks_for_a_root(tmp_path):
    with pytest.raises(RunError, match="of camvid can be drawn: give the data set's folder with --root"):
        dry_data.few(dataclasses.replace(TINY, data="camvid"), None, tmp_path, 2)


def test_an_unknown_loss_names_its_stage():
    stages = (StagePlan("ce", None, "baseline", "hinge", 1, 0.1),)
    recipe = dataclasses.replace(
        TINY, stages=stages, matrix_stage="ce", arms=(dataclasses.replace(TINY.arms[0], stage="ce"),)
    )
    with pytest.raises(RunError, match="table3, stage ce: no loss 'hinge'"):
        dry_run.run(recipe)


def test_a_frozen_part_that_changes_is_found(monkeypatch):
    def thaws(self, plan, built):
        return engine.BaselineStep(built, self.criterion(plan, range(self.classes)))

    monkeypatch.setattr(dry_run.DryRun, "step", thaws)
    with pytest.raises(
        RunError, match="stage subnets_ce: parameter:encoder.* was frozen, and training changed it"
    ):
        dry_run.run(TINY, cells=["all_ce"])


def test_the_peak_begins_anew_and_sees_what_is_held():
    if not resident.restart():
        pytest.skip("this system does not reset a process's peak")
    before = resident.peak()
    held = np.ones(2**23)
    assert resident.peak() >= before + held.nbytes / 2
    del held
    resident.restart()
    assert resident.peak() < before + 2**25
