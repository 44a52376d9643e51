"""Table 2 and the others as data: what every cell of every recipe names is there; cells alone are as in the table."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from experiments.tools import export_symbols
from gluon_confseg import build, cli, encoders, losses, metrics, recipe_files, train
from gluon_confseg.cli.train import open_data
from gluon_confseg.encoders import norms
from gluon_confseg.errors import RunError
from gluon_confseg.fusion import LEARNED, RULES
from gluon_confseg.inference import TTA
from gluon_confseg.recipe import Cell, declare, phase
from gluon_confseg.report import tables
from gluon_confseg.run_folder import RunFolder
from gluon_confseg.settings import GROUPS
from gluon_confseg.subnets import HeadSettings

FILES = recipe_files.names()
RECIPES = [recipe for file in FILES for recipe in recipe_files.find(file).profiles.values()]
NAMES = [f"{recipe.name}-{recipe.profile}" for recipe in RECIPES]
TABLE2 = recipe_files.find("table2")
FULL = TABLE2.profile("full")
TINY = TABLE2.profile("smoke").with_data(
    head=HeadSettings(channels=8, depth=2, dilation=1, stages=(3,)),
    subnet_head=HeadSettings(channels=8, depth=2, dilation=1, stages=(2, 3)),
    crop=(32, 32),
    draw={"train": 4, "val": 2, "size": (128, 64), "seed": 0},
    matrix_images=2,
)


def run(recipe, scenes, out, cells) -> RunFolder:
    """A trained and scored run folder of some cells."""
    folder = RunFolder(out, recipe.config())
    train.run(recipe, open_data(recipe, scenes), folder, cells=cells)
    return folder


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_what_a_recipe_names_is_there(recipe):
    statistics = losses.LabelStatistics(np.full(19, 9), np.full(19, 99), 2)
    shares = metrics.normalize(np.eye(19, dtype=np.int64) * 9 + 1)
    for each in recipe.phases:
        weights = build.confusion_weights(shares, each.scheme)
        losses.build(each.loss, 19, weights=weights, penalty=each.penalty, statistics=statistics)
        assert each.groups.partition(" ")[0] in GROUPS
        assert encoders.canonical(each.encoder) in encoders.NAMES
        assert each.norm in norms.NAMES
    for cell in recipe.cells:
        assert recipe.rule_of(cell) in (*RULES, LEARNED)
        assert cell.tta in ("single", *TTA)
        assert recipe.needed([cell])[-1].name == cell.phase or cell.phase == recipe.matrix_phase


@pytest.mark.parametrize("recipe", RECIPES, ids=NAMES)
def test_cells_have_names_of_their_own_and_no_phase_is_idle(recipe):
    keys = [cell.key for cell in recipe.cells]
    assert len(set(keys)) == len(keys)
    assert recipe.needed(recipe.cells) == recipe.phases


@pytest.mark.parametrize("name", ["table2", "table3", "table5"])
def test_the_papers_settings_are_those_of_full(name):
    recipe = recipe_files.find(name).profile("full")
    epochs = 80 if name == "table5" else 100
    assert {each.epochs for each in recipe.phases if each.trains == "subnet0"} == {epochs}
    assert {each.learning_rate for each in recipe.phases} == {0.002}
    for each in recipe.phases:
        assert (each.penalty, each.output_stride, each.groups) == (5.0, 8, "paper")
        assert each.rule == ("subnet0" if each.trains == "subnet0" else "sum")
        assert each.subnets == "plain" and (each.trains == "subnet0" or each.subnet_head == HeadSettings())
    first = recipe.phases[0]
    assert (first.encoder, first.pretrained, first.head) == ("resnet101", True, HeadSettings())


def test_every_technique_of_the_paper_is_alone_and_with_ours():
    keys = {cell.key for cell in FULL.cells}
    for technique in (*losses.OTHER_LOSSES, "aspp_v2", "aspp_v3", "gcn", "inplace_abn"):
        assert {technique, f"{technique}_ours"} <= keys


def test_the_papers_numbers_are_those_that_table_2_prints():
    printed = {75.06, 71.16, 71.51, 71.0, 71.4, 76.9, 77.4, 74.42, 77.58, 77.75, 74.70}
    given = {cell.paper for cell in FULL.cells if cell.paper}
    assert given == printed | {76.21}  # Table 3's improved cross-entropy


def test_ours_stands_on_the_network_of_its_technique():
    for cell in FULL.cells:
        if "_ours" in cell.key:
            last = FULL.phase(cell.phase)
            first, own = FULL.phase(last.path[0]), FULL.phase(cell.phase[: -len("_ours")])
            assert last.trains == "subnets" and last.loss == "confusion_ce"
            for setting in ("encoder", "head", "norm"):
                assert getattr(first, setting) == getattr(last, setting) == getattr(own, setting)
            assert first.loss in (own.loss, "confusion_ce")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Some cells of different kinds in one run."""
    folder = tmp_path_factory.mktemp("table2")
    cells = ["ce", "focal", "focal_ours", "aspp_v2_ours", "ce_flip"]
    return run(TINY, folder / "scenes", folder / "run", cells), folder


@pytest.mark.slow
def test_a_cell_alone_ends_with_the_same_bits_as_in_the_table(table, tmp_path):
    whole, folder = table
    alone = run(TINY, folder / "scenes", tmp_path / "run", ["focal_ours"])
    for name in ("focal", "focal_ours", "focal_ours.evaluation"):
        file = f"checkpoints/{name}.npz"
        assert (alone.path / file).read_bytes() == (whole.path / file).read_bytes()
    assert not (alone.path / "checkpoints" / "aspp_v2.npz").exists()


@pytest.mark.slow
def test_each_technique_with_its_own_network_has_its_own_training_matrix(table):
    assert {"train", "train_aspp_v2"} <= set(table[0].matrices())
    assert "train_focal" not in table[0].matrices()


@pytest.mark.slow
def test_a_mirrored_test_is_kept_apart(table):
    assert (table[0].path / "checkpoints" / "ce.flip.evaluation.npz").exists()


def test_an_unknown_cell_is_one_sentence(capsys):
    with pytest.raises(
        RunError, match="table2 has no cell 'ohm'; did you mean ohem.* its cells are ce, conf"
    ):
        FULL.choose(["ohm"])
    assert cli.main(["train", "table2", "--cell", "ohm"]) == 1
    assert capsys.readouterr().err.startswith("confseg: table2 has no cell 'ohm'")


def test_a_missing_crf_is_said_before_anything_is_trained(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    with pytest.raises(RunError, match="pydensecrf2, which is not installed"):
        run(TINY, tmp_path / "scenes", tmp_path / "run", ["aspp_v2_crf"])
    assert not list(tmp_path.glob("run/checkpoints/*"))


def test_an_unknown_way_of_testing_names_those_there_are():
    cells = [Cell("twice", "0", "CE", "ce", tta="twice")]
    with pytest.raises(RunError, match="no way of testing 'twice': choose one of flip"):
        declare(name="x", title="x", data="voc", phases=[phase("ce")], cells=cells, matrix_phase="ce")


def test_a_recipe_that_is_installed_needs_nothing_of_the_checkout():
    for name in recipe_files.names():
        text = recipe_files.find(name).path.read_text()
        assert "from experiments" not in text and "from ." not in text and "import experiments" not in text


def test_more_cells_than_stand_side_by_side_are_rows():
    def results(count: int) -> dict:
        cells = [{"subnets": "0", "loss": f"loss {i}", "mean_iou": 0.5 + i / 100} for i in range(count)]
        return {"cells": cells, "data": {"name": "x"}}

    wide, long = (tables.cells(results(count)) for count in (tables.WIDEST, tables.WIDEST + 1))
    assert len(wide.head) == tables.WIDEST + 1 and wide.head[0] == "subnets"
    assert long.head[:3] == ["subnets", "loss", "mIoU, %"] and len(long.rows) == tables.WIDEST + 1
    assert long.rows[2][:4] == ["0", "loss 2", "52.00", "+2.00"]


def test_exported_subnets_have_the_settings_of_their_phase_not_those_of_subnet_0():
    (cell,) = TINY.choose(["gcn_ours"])
    settings = export_symbols.construct(TINY, cell).settings
    assert settings["head"]["kind"] == "gcn"
    assert {head["kind"] for head in settings["subnet_heads"]} == {"plain"}
    assert len(settings["groups"]) == len(settings["subnet_heads"]) == 3
