"""Dry runs: a recipe's own phases on a handful of images, what is measured, and what is made of it."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from types import SimpleNamespace

import numpy as np
import pytest
import small
from layouts import make_cityscapes, write_png

from experiments import own, table3, table4, table5
from gluon_confseg import dry_run, engine, frozen, groups, metrics
from gluon_confseg.cli import main
from gluon_confseg.dry_run import data, estimate, folder, memory
from gluon_confseg.errors import DatasetError, RunError
from gluon_confseg.recipe import Cell, declare, phase
from gluon_confseg.subnets import HeadSettings

NARROW = ["head.channels=8", "subnet_head.channels=8", "subnet_head.stages=2,3", "crop=32,32", "batch_size=4"]
SMOKE = table3.PROFILES["smoke"].override([*NARROW, "head.dilation=1", "draw.size=128,64"])
TINY = dataclasses.replace(
    SMOKE, cells=(*SMOKE.cells, Cell("subnets_ce_product", "0-3", "CE", "subnets_ce", rule="product"))
)
OWN = own.PROFILES["smoke"].override([*NARROW, "encoder=resnet18", "output_stride=16"])
PHASES = ["base", "ce", "confusion_ce", "ce_continued", "subnets_ce", "subnets_confusion_ce"]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A dry run's record, and the folder of its temporary files."""
    place, before = tmp_path_factory.mktemp("temporary"), tempfile.tempdir
    tempfile.tempdir = str(place)
    try:
        return dry_run.run(TINY), place
    finally:
        tempfile.tempdir = before


def own_data(root, classes: int, train: int = 2, val: int = 1):
    """A folder of own data with so many images of 48 x 32."""
    (root / "labels").mkdir(parents=True)
    rows = [f"class{k},{k},{k},{k}" for k in range(classes)]
    (root / "classes.csv").write_text("\n".join(["name,r,g,b", *rows]))
    draws = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for number in range(count):
            noise = draws.integers(0, 256, (32, 48, 3)).astype(np.uint8)
            label = draws.integers(0, classes, (4, 6)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
            write_png(root / "images" / split / f"{number}.png", noise)
            write_png(root / "labels" / split / f"{number}.png", label)
    return root


@pytest.mark.slow
def test_every_phase_takes_two_steps_and_every_cell_is_read(found):
    record, _ = found
    assert [phase["name"] for phase in record["phases"]] == PHASES
    assert all(len(phase["seconds_per_step"]) == 2 and phase["mean_loss"] > 0 for phase in record["phases"])
    assert [cell["key"] for cell in record["cells"]] == [cell.key for cell in TINY.cells]
    assert all(cell["seconds_per_image"] > 0 and cell["rule"] for cell in record["cells"])


@pytest.mark.slow
def test_every_network_is_evaluated_once_by_all_its_rules(found):
    record, _ = found
    assert [(e["phase"], e["tta"]) for e in record["evaluations"]] == [(name, "single") for name in PHASES]
    rules = {e["phase"]: set(e["rules"]) for e in record["evaluations"]}
    assert rules["ce"] == {"subnet0"} and rules["subnets_ce"] == {"residual_product", "product", "sum"}
    assert all(matrix["images"] == 4 for matrix in record["matrices"])


@pytest.mark.slow
def test_networks_that_differ_in_values_alone_are_timed_once(found):
    record, _ = found
    of_subnets = {e["seconds_per_image"] for e in record["evaluations"] if "subnets" in e["phase"]}
    assert len(of_subnets) == 1
    assert len({e["seconds_per_image"] for e in record["evaluations"]} - of_subnets) <= 1


@pytest.mark.slow
def test_validations_while_training_are_counted(found):
    record, _ = found
    assert all((e["validations"], e["images"]) == (1, 4 + 4) for e in record["evaluations"])
    longer = table3.PROFILES["quick"].override(["validate_every=1", "phases.base.epochs=7"])
    many = SimpleNamespace(
        counts={"train": 50, "val": 20}, splits=SimpleNamespace(val=SimpleNamespace(num_classes=19))
    )
    image = folder.ImageFigures(2.0, 1000, (8, 16), ("subnet0",))
    evaluation = estimate._evaluation(longer, ("base", "single"), image, many)
    assert evaluation["images"] == 7 * 20 + 20 and evaluation["hours"] == pytest.approx(160 * 2 / 3600)
    assert estimate._evaluation(longer, ("base", "flip"), image, many)["images"] == 20


def test_an_image_does_not_take_the_time_of_making_its_frozen_graph(tmp_path, monkeypatch):
    """Of 100 seconds, 80 went by while graphs were made."""
    clock = iter((1000.0, 1100.0, 1100.0))
    monkeypatch.setattr(folder, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    splits = data.draw(TINY, tmp_path / "data", 1)
    lap = folder.DryFolder(tmp_path / "run", TINY, TINY.cells, splits)
    monkeypatch.setattr(frozen.Frozen, "building", frozen.Frozen.building + 80)
    assert lap._lap()[0] == 20


def test_making_frozen_graphs_is_timed(monkeypatch):
    clock, built = iter((5.0, 12.0)), small.build()
    monkeypatch.setattr(frozen, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(frozen.Frozen, "building", 1.0)
    made = frozen.Frozen(built, built)
    made(small.images())
    made(small.images())
    assert frozen.Frozen.building == 8


@pytest.mark.slow
def test_nothing_is_left_behind(found):
    _, place = found
    assert not list(place.iterdir())


@pytest.mark.slow
def test_the_record_is_json_and_every_name_is_in_the_text(found):
    record, _ = found
    assert json.loads(json.dumps(record)) == record
    page = dry_run.text(record)
    assert all(name in page for name in PHASES) and all(cell.key in page for cell in TINY.cells)
    assert "random values" in page and "made up" not in page


@pytest.mark.slow
def test_peaks_hold_what_the_network_takes(found):
    record, _ = found
    for found_of in record["phases"]:
        taken = found_of["memory"]
        assert 0 < taken["base"] <= taken["steps"] <= taken["peak"] <= record["whole"]["memory_here"]
        assert taken["momentum"] < found_of["checkpoint"] < found_of["progress"]


@pytest.mark.slow
def test_the_disk_holds_all_results_and_two_states_of_the_largest_phase(found):
    record, _ = found
    whole, phases = record["whole"], record["phases"]
    kept = sum(phase["checkpoint"] + phase["best"] for phase in phases)
    kept += sum(e["file"] for e in record["evaluations"])
    assert whole["run_folder"] == kept and all(phase["best"] for phase in phases)
    assert whole["run_folder_at_most"] == kept + 2 * max(phase["progress"] for phase in phases)


@pytest.mark.slow
def test_a_cell_alone_takes_what_its_phases_take(found):
    record, _ = found
    cell = record["cells"][0]
    needed = [phase.name for phase in TINY.needed(TINY.choose(["subnet0_ce"]))]
    assert needed == ["base", "ce"]
    parts = [phase["hours"] for phase in record["phases"] if phase["name"] in needed]
    parts += [evaluation["hours"] for evaluation in record["evaluations"] if evaluation["phase"] in needed]
    assert cell["hours"] == pytest.approx(sum(parts) + sum(matrix["hours"] for matrix in record["matrices"]))


def test_a_full_batch_is_extrapolated_from_the_fastest_step_and_by_images():
    figures = folder.PhaseFigures(2, seconds=[9.0, 4.0], base=1000, steps_peak=1500, peak=1600, momentum=100)
    full = table3.PROFILES["full"].phase("ce")
    alike = folder.PhaseFigures(2, seconds=[5.0, 3.0])
    assert estimate._fastest_step(SMOKE, "ce", {"base": alike, "ce": figures, "confusion_ce": alike}) == 3.0
    assert estimate._fastest_step(SMOKE, "ce", {"ce": figures, "confusion_ce": alike}) == 4.0
    found = estimate._phase(full, figures, 4.0, 2975)
    assert found["steps"] == 100 * 185  # the rest of an epoch is left out
    assert found["hours"] == pytest.approx(18500 * 4.0 / 2 * 16 / 3600)
    assert found["memory_of_batch"] == 1000 + 100 + 16 * 200


@pytest.mark.slow
def test_asked_for_its_run_folder_is_kept_and_not_taken_for_another_run(tmp_path):
    out = tmp_path / "kept"
    record = dry_run.run(TINY, out=out, cells=["subnets_ce"], images=2)
    assert json.loads((out / "config.json").read_text())["dry_run"] is True
    assert (out / "checkpoints" / "subnets_ce.npz").stat().st_size == record["phases"][-1]["checkpoint"]
    assert [phase["images_per_step"] for phase in record["phases"]] == [2, 2, 2]
    assert not (out / "results.json").exists()  # its matrices are made up
    with pytest.raises(RunError, match="kept: is there already"):
        dry_run.run(TINY, out=out)


def test_with_a_root_its_own_images_are_counted_and_the_first_are_taken(tmp_path):
    for split in ("train", "val"):
        make_cityscapes(tmp_path, split, per_city=3)
    full = table3.PROFILES["full"]
    first = data.first_images(full, tmp_path, tmp_path / "unused", 4)
    assert first.counts == {"train": 6, "val": 6} and not first.drawn
    assert (len(first.splits.train), len(first.splits.val)) == (4, 1)
    assert first.bytes == sum(path.stat().st_size for path in tmp_path.rglob("*.png"))
    with pytest.raises(DatasetError):
        data.first_images(full, tmp_path / "nowhere", tmp_path / "unused", 4)


def test_of_fewer_images_than_two_steps_take_the_first_come_again(tmp_path):
    root = own_data(tmp_path / "root", 4)
    train = data.first_images(OWN, root, tmp_path, 4).splits.train
    assert train.names == [train.names[0], train.names[1]] * 2
    np.testing.assert_array_equal(train[2][0], train[0][0])
    np.testing.assert_array_equal(train[3][1], train[1][1])


def test_voc_is_drawn_in_its_own_layout_and_classes(tmp_path):
    recipe = dataclasses.replace(table5.PROFILES["full"], draw={"size": (80, 60)})
    first = data.first_images(recipe, None, tmp_path, 2)
    image, mask = first.splits.train[0]
    assert image.shape == (60, 80, 3) and first.splits.train.num_classes == 21
    assert set(np.unique(mask)) <= {*range(21), 255}
    assert first.counts == {"train": 10_582, "val": 1449}


def test_what_can_not_be_drawn_asks_for_a_root(tmp_path, monkeypatch, capsys):
    with pytest.raises(RunError, match="of camvid can be drawn: give the data set's folder with --root"):
        data.first_images(dataclasses.replace(TINY, data="camvid"), None, tmp_path, 2)
    monkeypatch.delenv("OWN_ROOT", raising=False)
    assert main(["train", "own", "--dry-run"]) == 1
    assert (
        "no folder of your own data was given; name it with --root, or set OWN_ROOT"
        in capsys.readouterr().err
    )


def test_a_split_of_unknown_size_asks_for_a_root(tmp_path):
    recipe = dataclasses.replace(TINY, draw={"size": (128, 64)}, train_split="train_coarse")
    with pytest.raises(RunError, match="how many images split train_coarse of cityscapes has: give"):
        data.first_images(recipe, None, tmp_path, 2)


@pytest.mark.slow
def test_own_data_get_made_up_groups_and_the_text_says_so(tmp_path):
    record = dry_run.run(OWN, own_data(tmp_path / "root", 4), cells=["subnets_ce"])
    assert record["phases"][-1]["groups"] == [2, 2]
    page = " ".join(dry_run.text(record).split())
    assert "The groups are made up: 2 of 2 classes, neighbours in the list of classes" in page
    assert "the training matrix of phase base" in page


def test_made_up_groups_have_a_third_of_the_classes_each():
    for count in range(3, 40):
        sizes = [len(g) for g in groups.discover(metrics.normalize(folder.neighbours(count)))]
        third = max(2, round(count / 3))
        assert sizes and max(sizes) == third and sum(sizes) >= count - third + 1


@pytest.mark.slow
def test_with_two_classes_the_cells_of_subnets_are_left_out_and_the_text_says_so(tmp_path):
    root = own_data(tmp_path / "root", 2)
    record = dry_run.run(OWN, root)
    assert [phase["name"] for phase in record["phases"]] == ["base", "ce", "confusion_ce", "ce_continued"]
    keys = ["subnet0_ce", "subnet0_ce_continued", "subnet0_confusion_ce"]
    assert [cell["key"] for cell in record["cells"]] == keys
    page = " ".join(dry_run.text(record).split())
    assert "Left out, as training would: subnets_ce, subnets_confusion_ce: with two classes" in page
    with pytest.raises(RunError, match="there is nothing to score .subnets_ce.: with two classes"):
        dry_run.run(OWN, root, cells=["subnets_ce"])


@pytest.mark.slow
def test_settings_that_were_given_by_name_are_those_of_the_dry_run(tmp_path):
    given = ["groups=car,truck,bus;person,rider", "head.channels=4", "phases.ce.crop=48,64", "penalty=2"]
    record = dry_run.run(SMOKE.override(given), out=tmp_path / "run", cells=["subnets_ce"])
    assert record["phases"][-1]["groups"] == [3, 2]
    assert [phase["crop"] for phase in record["phases"]] == [[32, 32], [48, 64], [32, 32]]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert {phase["head"]["channels"] for phase in config["phases"]} == {4}
    assert {phase["penalty"] for phase in config["phases"]} == {2.0}


@pytest.mark.slow
def test_a_phase_without_epochs_starts_from_random_values_and_the_text_says_so():
    full = table4.PROFILES["full"]
    recipe = declare(
        name="table4",
        title="x",
        data="cityscapes",
        phases=(phase("ce", epochs=0), phase("subnets_ce", "ce", "subnets", epochs=20)),
        cells=[cell for cell in full.cells if cell.phase in ("ce", "subnets_ce")],
        matrix_phase="ce",
        draw={"train": 8, "val": 4, "size": (128, 64), "seed": 0},
        **table3.SMALL_RESNET,
    ).override([*NARROW, "head.dilation=1"])
    record = dry_run.run(recipe)
    assert record["phases"][0]["seconds_per_step"] == [] and record["phases"][0]["best"] == 0
    evaluated = {(e["phase"], e["tta"]): e["validations"] for e in record["evaluations"]}
    assert evaluated == {("ce", "single"): 0, ("ce", "flip-bicubic"): 0, ("subnets_ce", "single"): 4}
    page = " ".join(dry_run.text(record).split())
    assert "Phase ce has no epochs: here it has random values" in page


def test_steps_of_one_image_are_of_two_where_aspp_pools():
    def images(recipe, **changes) -> set:
        phases = tuple(dataclasses.replace(phase, **changes) for phase in recipe.phases)
        short = dry_run.shortened(dataclasses.replace(recipe, phases=phases), recipe.cells, 1)
        return {phase.batch_size for phase in short.phases}

    full = table3.PROFILES["full"]
    assert images(full) == images(full, head=HeadSettings(kind="aspp_v2")) == {1}
    assert images(full, head=HeadSettings(kind="aspp_v3")) == {2}
    assert images(full, subnet_heads=((2, HeadSettings(context="aspp")),)) == {2}


def test_what_a_network_can_not_be_names_its_phase():
    recipe = declare(
        name="table3",
        title="x",
        data="cityscapes",
        phases=(phase("ce", epochs=1),),
        cells=(Cell("subnet0_ce", "0", "CE", "ce"),),
        matrix_phase="ce",
        draw={"train": 8, "val": 4, "size": (128, 64), "seed": 0},
        **{**table3.SMALL_RESNET, "head": HeadSettings(channels=8, stages=(4,))},
    )
    with pytest.raises(RunError, match="table3, phase ce: .*stage"):
        dry_run.run(recipe)


@pytest.mark.slow
def test_a_frozen_part_that_changes_is_found(monkeypatch):
    def thaws(network, criteria, precision):
        return engine.Subnet0Step(network, [lambda logits, labels: logits.mean(axis=(1, 2, 3))], precision)

    monkeypatch.setitem(engine.STEPS, "subnets", thaws)
    monkeypatch.setattr(dry_run, "RATE", 1.0)
    with pytest.raises(
        RunError, match="phase subnets_ce: parameter:encoder.* was frozen, and training changed it"
    ):
        dry_run.run(TINY, cells=["subnets_ce"])


def test_steps_of_no_image_are_one_sentence():
    with pytest.raises(RunError, match="a step of 0 images can't be made: give --dry-batch 1 or more"):
        dry_run.run(TINY, images=0)


def test_the_peak_begins_anew_and_sees_what_is_held():
    if not memory.restart():
        pytest.skip("this system does not reset a process's peak")
    before = memory.peak()
    held = np.ones(2**23)
    assert memory.peak() >= before + held.nbytes / 2
    del held
    memory.restart()
    assert memory.peak() < before + 2**25
