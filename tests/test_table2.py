"""Table 2 and the others as data: what every cell of every recipe names is there; cells alone are as in the table."""

from __future__ import annotations

import dataclasses
import importlib
import sys

import numpy as np
import pytest

from experiments import command, criteria, dry_run, evaluation, grouping, runner, table2
from gluon_confseg import encoders, losses
from gluon_confseg.encoders import norms
from gluon_confseg.errors import ConfSegError, RunError
from gluon_confseg.fusion import LEARNED, RULES
from gluon_confseg.report import tables
from gluon_confseg.subnets import HeadSettings

RECIPES = [
    recipe
    for name in ("table2", "table3", "table4", "table5", "camvid", "study")
    for recipe in importlib.import_module(f"experiments.{name}").RECIPES.values()
]
NAMES = [f"{recipe.experiment}-{recipe.profile}" for recipe in RECIPES]
TINY = dataclasses.replace(
    table2.RECIPES["smoke"],
    head=HeadSettings(channels=8, depth=2, dilation=1, stages=(3,)),
    subnet_head=HeadSettings(channels=8, depth=2, dilation=1, stages=(2, 3)),
    crop=(32, 32),
    draw={"train": 4, "val": 2, "size": (128, 64), "seed": 0},
    matrix_images=2,
)


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_what_a_recipe_names_is_there(recipe):
    statistics = losses.LabelStatistics(np.full(19, 9), np.full(19, 99), 2)
    counts = np.eye(19, dtype=np.int64) * 9 + 1
    for plan in recipe.stages:
        scheme = plan.scheme or recipe.scheme
        criteria.build(
            plan.loss, 19, lambda: counts, lambda: statistics, scheme, plan.penalty or recipe.penalty
        )
        assert (plan.groups or recipe.groups).partition(" ")[0] in grouping.CHOICES
        assert encoders.canonical(plan.encoder or recipe.encoder) in encoders.NAMES
        assert (plan.norm or recipe.norm) in norms.NAMES
    for arm in recipe.arms:
        assert recipe.rule_of(arm) in (*RULES, LEARNED)
        assert arm.test in evaluation.TESTS
        assert recipe.needed([arm])[-1].name == arm.stage or arm.stage == recipe.matrix_stage


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_cells_have_names_of_their_own_and_no_stage_is_idle(recipe):
    keys = [arm.key for arm in recipe.arms]
    assert len(set(keys)) == len(keys)
    assert set(recipe.needed(recipe.arms)) == set(recipe.stages)


@pytest.mark.parametrize("name", ["table2", "table3", "table5"])
def test_the_papers_settings_are_those_of_full(name):
    recipe = importlib.import_module(f"experiments.{name}").RECIPES["full"]
    epochs = 80 if name == "table5" else 100
    assert {plan.epochs for plan in recipe.stages if plan.trains == "baseline"} == {epochs}
    assert {plan.learning_rate for plan in recipe.stages} == {0.002}
    assert (recipe.penalty, recipe.output_stride, recipe.groups, recipe.rule) == (5.0, 8, "paper", "sum")
    assert recipe.subnets == "plain" and recipe.subnet_head == recipe.head == HeadSettings()
    assert (recipe.encoder, recipe.pretrained) == ("resnet101", True)


def test_every_technique_of_the_paper_is_alone_and_with_ours():
    keys = {arm.key for arm in table2.RECIPES["full"].arms}
    for technique in (*losses.OTHER_LOSSES, "aspp_v2", "aspp_v3", "gcn", "inplace_abn"):
        assert {technique, f"{technique}_ours"} <= keys


def test_the_papers_numbers_are_those_that_table_2_prints():
    printed = {75.06, 71.16, 71.51, 71.0, 71.4, 76.9, 77.4, 74.42, 77.58, 77.75, 74.70}
    given = {arm.paper for arm in table2.RECIPES["full"].arms if arm.paper}
    assert given == printed | {76.21}  # Table 3's new cross-entropy


def test_ours_stands_on_the_network_of_its_technique():
    recipe = table2.RECIPES["full"]
    for arm in recipe.arms:
        if "_ours" in arm.key:
            first, last = recipe.ancestry(arm.stage)[0], recipe.stage(arm.stage)
            assert last.trains == "subnets" and last.loss == "new CE"
            own = recipe.stage(arm.stage[: -len("_ours")])
            assert [getattr(first, n) for n in ("encoder", "head", "norm")] == [
                getattr(own, n) for n in ("encoder", "head", "norm")
            ]
            assert first.loss in (own.loss, "new CE")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Some cells of different kinds in one run."""
    folder = tmp_path_factory.mktemp("table2")
    cells = ["ce", "focal", "focal_ours", "aspp_v2_ours", "ce_flip"]
    return runner.run(TINY, folder / "scenes", folder / "run", cells=cells), folder


def test_a_cell_alone_ends_with_the_same_bits_as_in_the_table(table, tmp_path):
    whole, folder = table
    alone = runner.run(TINY, folder / "scenes", tmp_path / "run", cells=["focal_ours"])
    for name in ("focal", "focal_ours", "focal_ours.evaluation"):
        file = f"checkpoints/{name}.npz"
        assert (alone.path / file).read_bytes() == (whole.path / file).read_bytes()
    assert not (alone.path / "checkpoints" / "aspp_v2.npz").exists()


def test_each_technique_with_its_own_network_has_its_own_training_matrix(table):
    with np.load(table[0].path / "confusion.npz") as archive:
        assert {"train", "train_aspp_v2"} <= set(archive.files)
        assert "train_focal" not in archive.files


def test_a_mirrored_test_is_kept_apart(table):
    assert (table[0].path / "checkpoints" / "ce.flip.evaluation.npz").exists()


def test_an_unknown_cell_is_one_sentence(monkeypatch):
    with pytest.raises(ConfSegError, match="table2 has no cell 'ohm': its cells are ce, new_ce, ours"):
        table2.RECIPES["full"].cells(["ohm"])
    monkeypatch.setattr(sys, "argv", ["table2", "--dry-run", "--cell", "ohm"])
    with pytest.raises(SystemExit, match="confseg: table2 has no cell 'ohm'"):
        command.main(table2.RECIPES, "full")


def test_a_missing_crf_is_said_before_anything_is_trained(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    with pytest.raises(RunError, match="pydensecrf2, which is not installed"):
        dry_run.run(TINY, cells=["aspp_v2_crf"], out=tmp_path / "run")
    assert not list(tmp_path.glob("run/checkpoints/*"))


def test_an_unknown_test_names_those_there_are():
    with pytest.raises(RunError, match="no test 'twice': choose one of single"):
        evaluation.check_tests({"twice"})


def test_batches_of_one_are_two_where_aspp_pools():
    recipe = dry_run.short(table2.RECIPES["full"], 1)
    experiment = dry_run.DryRun.__new__(dry_run.DryRun)
    experiment.recipe = recipe
    images = {
        name: experiment.images_per_step(recipe.stage(name)) for name in ("ce", "aspp_v2", "aspp_v3_ours")
    }
    assert images == {"ce": 1, "aspp_v2": 1, "aspp_v3_ours": 2}


def test_more_arms_than_stand_side_by_side_are_rows():
    def results(count: int) -> dict:
        arms = [{"subnets": "0", "loss": f"loss {i}", "mean_iou": 0.5 + i / 100} for i in range(count)]
        return {"arms": arms, "data": {"name": "x"}}

    wide, long = (tables.arms(results(count)) for count in (tables.WIDEST, tables.WIDEST + 1))
    assert len(wide.head) == tables.WIDEST + 1 and wide.head[0] == "subnets"
    assert long.head[:3] == ["subnets", "loss", "mIoU, %"] and len(long.rows) == tables.WIDEST + 1
    assert long.rows[2][:4] == ["0", "loss 2", "52.00", "+2.00"]
