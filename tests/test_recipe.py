"""Every phase of a recipe, end to end, at a size of seconds."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import small

from gluon_confseg import compiled, metrics, recipe_files, report, runtime, train
from gluon_confseg.cli.train import open_data
from gluon_confseg.errors import RunError
from gluon_confseg.recipe import branching_phases, declare, four_cells, phase
from gluon_confseg.run_folder import RunFolder

SETTINGS = (  # of `confseg train drawn --profile smoke`
    "head.channels=8",
    "head.dilation=1",
    "subnet_head.channels=8",
    "subnet_head.stages=2,3",
    "crop=32,32",
    "matrix_images=2",
    "draw.train=4",
    "draw.val=2",
    "draw.size=128,64",
)
TINY = recipe_files.find("drawn").profile("smoke").override(SETTINGS)


def run(recipe, scenes, out, **settings) -> RunFolder:
    folder = RunFolder(out, recipe.config())
    train.run(recipe, open_data(recipe, scenes, **settings), folder)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe")
    return run(TINY, folder / "scenes", folder / "run"), folder


def results(run) -> dict:
    return json.loads((run.path / "results.json").read_text())


def test_a_run_ends_with_every_cell_scored_from_its_own_matrix(finished):
    run, _ = finished
    with np.load(run.path / "confusion.npz") as archive:
        for cell in results(run)["cells"]:
            counts = archive[cell["key"]]
            assert cell["mean_iou"] == metrics.mean_of_defined(metrics.iou(counts))
            assert counts.sum() > 0
    assert [cell["key"] for cell in results(run)["cells"]] == [
        cell.key for cell in four_cells(continued=True)
    ]


def test_the_first_line_says_that_drawn_scenes_are_not_cityscapes(finished):
    run, _ = finished
    assert results(run)["first_line"].startswith(
        "Data: street scenes drawn by gluon-confseg (not Cityscapes)"
    )


def test_every_phase_is_logged_and_leaves_its_checkpoint(finished):
    run, _ = finished
    phases = [phase.name for phase in TINY.phases]
    assert [record["phase"] for record in run.logged()] == phases
    assert all(run.checkpoint(phase).exists() for phase in phases)
    assert not list(run.path.glob("checkpoints/*progress*"))


def test_cells_with_and_without_subnets_share_encoder_and_subnet_0(finished):
    run, _ = finished
    with np.load(run.checkpoint("ce")) as alone, np.load(run.checkpoint("subnets_ce")) as with_subnets:
        shared = [name for name in alone.files if name.startswith("parameter:")]
        assert shared
        for name in shared:
            np.testing.assert_array_equal(alone[name], with_subnets[name])


def test_a_finished_run_is_not_trained_again(finished):
    before, folder = finished
    times = {path: path.stat().st_mtime_ns for path in before.path.glob("checkpoints/*.npz")}
    run(TINY, folder / "scenes", folder / "run")
    assert times == {path: path.stat().st_mtime_ns for path in before.path.glob("checkpoints/*.npz")}


@pytest.mark.slow
def test_the_same_recipe_run_twice_gives_the_same_bytes(finished, tmp_path):
    before, folder = finished
    again = run(TINY, folder / "scenes", tmp_path / "run")
    for name in ("results.json", "groups.json", "examples/examples.json"):
        assert (again.path / name).read_bytes() == (before.path / name).read_bytes()
    for file in ("confusion.npz", *(f"checkpoints/{of.name}.npz" for of in TINY.phases)):
        with np.load(before.path / file) as wanted, np.load(again.path / file) as found:
            assert small.same_bits(dict(wanted), dict(found))


def test_another_configuration_in_the_same_folder_is_one_sentence(finished):
    _, folder = finished
    with pytest.raises(RunError, match="penalty: 5.0 there, 1.0 now"):
        run(TINY.override(["penalty=1"]), folder / "scenes", folder / "run")


def test_a_phase_with_another_setting_is_named(tmp_path):
    RunFolder(tmp_path, TINY.config())
    with pytest.raises(RunError, match=r"\(phases.ce.epochs: 1 there, 7 now\)"):
        RunFolder(tmp_path, TINY.override(["phases.ce.epochs=7"]).config())


@pytest.mark.parametrize("content", ["[]", '{"phases": [{"epochs": 3}]}', '{"phases": 7}'])
def test_a_folder_with_a_foreign_configuration_is_one_sentence(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(RunError, match="config.json: is no run's configuration; choose another folder"):
        RunFolder(tmp_path, TINY.config())
    assert (tmp_path / "config.json").read_text() == content


def test_a_recipe_that_gains_a_phase_goes_on_in_its_folder(tmp_path):
    def gained(epochs: int) -> dict:
        phases = (*TINY.declared.phases, phase("longer", "ce", epochs=epochs))
        return dataclasses.replace(TINY.declared, phases=phases).resolve().config()

    RunFolder(tmp_path, TINY.config())
    RunFolder(tmp_path, gained(1))
    # and one that lost it again: what it made is still there, and may not be trained by other settings
    RunFolder(tmp_path, TINY.config())
    with pytest.raises(RunError, match="phases.longer.epochs"):
        RunFolder(tmp_path, gained(9))


@pytest.mark.slow
def test_the_report_is_written_from_the_run_folder(finished):
    run, _ = finished
    page = report.write(run.path).read_text()
    for cell in results(run)["cells"]:
        assert f"{100 * cell['mean_iou']:.2f}" in page
    assert ">compiled operators<" in page and ">threads<" in page


def test_the_results_say_with_what_a_run_was_trained(finished):
    run, _ = finished
    training = results(run)["training"]
    assert training["threads"] == runtime.threads()
    assert training["compiled_operators"] is (compiled.library() is not None)


def test_a_recipe_refuses_a_phase_that_starts_from_none():
    own = {"name": "x", "title": "x", "data": "cityscapes", "cells": four_cells()}
    with pytest.raises(RunError, match="ce starts from base, which is no earlier phase"):
        declare(**own, phases=[phase("ce", "base", epochs=1)], matrix_phase="ce")
    phases = branching_phases(base=1, subnet0=1, subnets=1, rate=0.1, fine_rate=0.1, subnet_rate=0.1)
    with pytest.raises(RunError, match="there is no phase 'subnets_confusion_ce'"):
        declare(**own, phases=phases[:4], matrix_phase="base")


@pytest.mark.slow
def test_a_run_that_reads_packs_ends_with_the_same_bits(finished, tmp_path):
    before, folder = finished
    packed = run(TINY, folder / "scenes", tmp_path / "run", packs=tmp_path / "packs")
    assert results(packed) == results(before)
    assert sorted(path.name for path in (tmp_path / "packs").iterdir()) == ["train", "val"]


def test_another_last_stage_reaches_the_heads_of_phases_that_go_on():
    """Subnets of later phases read the stage as well, and no branch for detail is left of the former structure."""
    for name in ("drawn", "own"):
        changed = recipe_files.find(name).profile("quick").override(["last_stage=4"])
        heads = [phase.subnet_head for phase in changed.phases if phase.part.has_groups]
        assert {(head.stages, head.detail) for head in heads} == {((2, 3, 4), None)}
