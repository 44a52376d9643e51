"""The course of a study: its waves, what a killed one ends with, what is left out, and the command on a data set."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from experiments.study import drawn
from experiments.tools import made_up_data
from gluon_confseg import checkpoint, cli, metrics, train
from gluon_confseg.cli import study as verb
from gluon_confseg.errors import RunError, Stopped
from gluon_confseg.run_folder import RunFolder
from gluon_confseg.study import arms, estimate, plan, results, run, seeds, tuning

PROJECT = Path(__file__).resolve().parents[1]
CLASSES = len(made_up_data.CLASSES)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return made_up_data.make(tmp_path_factory.mktemp("made-up"))


def study(root: Path, out: Path, known=None, tries: int = 3, wanted=(0, 1), **settings) -> run.Study:
    splits = run.open_splits("custom", root, look=False)
    made = plan.make("smoke", splits.train)
    found = arms.chosen(known or ["subnets_confusion_ce_sum", "ce_continued"])
    return run.Study("custom", root, splits, made, found, tries, tuple(wanted), out, **settings)


def invented(name: str, rate: float, images: int = 4) -> np.ndarray:
    """(images, K, K) counts that depend on a phase's name; of all rates, 0.03 and 0.09 give the best."""
    draws = np.random.default_rng(zlib.crc32(name.encode()))
    hits = 400 if rate in (0.03, 0.09) else 200
    return draws.integers(0, 50, (images, CLASSES, CLASSES)) + hits * np.eye(CLASSES, dtype=np.int64)


class Trainer:
    """Stands for `train.run`: each phase's scores are `invented`, and those of `diverging` have none."""

    def __init__(self, diverging=(), stop_after: int | None = None):
        self.diverging, self.stop_after, self.trained = diverging, stop_after, []

    def __call__(self, recipe, splits, folder, *, cells=None, **settings) -> None:
        for phase in recipe.needed(recipe.choose(cells)):
            if folder.begun(phase.name) or folder.given_up(phase.name):
                continue
            if self.stop_after is not None and len(self.trained) >= self.stop_after:
                raise Stopped(signal.SIGTERM)
            self.trained.append(phase.name)
            if any(phase.name.startswith(name) for name in self.diverging):
                folder.give_up(phase.name, "the loss is not finite")
                continue
            assert not folder.given_up(phase.start or "none")
            counts = invented(phase.name, phase.learning_rate)
            rules = recipe.rules_at(phase, recipe.choose(cells))
            folder.save_evaluation(phase.name, dict.fromkeys(rules, counts))
            checkpoint.save(folder.checkpoint(phase.name), {"x": np.zeros(1, np.float32)}, {})
        for cell in recipe.choose(cells):
            known = folder.evaluation(cell.phase)
            if known:
                counts = invented(cell.phase, recipe.phase(cell.phase).learning_rate)
                folder.save_evaluation(cell.phase, {**known, recipe.rule_of(cell): counts})
        matrix = np.eye(CLASSES, dtype=np.int64) * 500 + 3
        matrix[1, 2] = matrix[2, 1] = matrix[3, 4] = matrix[4, 3] = 90
        folder.save_matrices({"train": matrix})


def in_this_process(monkeypatch) -> None:
    """Further seeds are trained here, as their command lines say."""

    def run_each(commands: dict, processes: int) -> None:
        for name, (_, *words) in commands.items():
            assert words[:3] == ["-m", "gluon_confseg", "study"]
            assert cli.main(words[2:]) == 0, name

    monkeypatch.setattr(seeds, "run_each", run_each)


# ---- the course


def test_arms_go_on_from_the_best_rate_and_the_record_of_the_tuning_says_so(root, tmp_path, monkeypatch):
    trainer = Trainer()
    monkeypatch.setattr(train, "run", trainer)
    run.tune(study(root, tmp_path), 1)
    found = tuning.read(tmp_path)
    assert (found["seed"], found["tries"]) == (0, 3)
    chosen = {key: arm["chosen"] for key, arm in found["arms"].items()}
    assert chosen == {"ce": 0.03, "confusion_ce": 0.03, "subnets_confusion_ce": 0.09, "ce_continued": 0.03}
    for key, arm in found["arms"].items():
        assert [entry["rate"] for entry in arm["tried"]] == tuning.rates(arms.ARMS[key], 3)
        for entry in arm["tried"]:
            counts = invented(arms.phase_name(key, entry["rate"]), entry["rate"])
            assert entry["mean_iou"] == metrics.mean_iou(counts.sum(0))
    config = json.loads((tmp_path / "seed0" / "config.json").read_text())
    starts = {phase["name"]: phase["start"] for phase in config["phases"]}
    assert starts["ce_continued_rate_0_003"] == starts["ce_continued_rate_0_03"] == "ce_rate_0_03"
    assert trainer.trained[0] == "base" and len(trainer.trained) == len(set(trainer.trained)) == 13


@pytest.mark.parametrize("stop_after", [0, 1, 4, 7, 9, 12])
def test_a_study_that_was_stopped_ends_with_the_same_tuning_and_trains_nothing_twice(
    root, tmp_path, monkeypatch, stop_after
):
    whole, first, second = Trainer(), Trainer(stop_after=stop_after), Trainer()
    monkeypatch.setattr(train, "run", whole)
    run.tune(study(root, tmp_path / "whole"), 1)
    monkeypatch.setattr(train, "run", first)
    with pytest.raises(Stopped):
        run.tune(study(root, tmp_path / "stopped"), 1)
    monkeypatch.setattr(train, "run", second)
    run.tune(study(root, tmp_path / "stopped"), 1)
    assert first.trained + second.trained == whole.trained
    assert tuning.read(tmp_path / "stopped") == tuning.read(tmp_path / "whole")


def test_a_study_may_get_more_arms_and_tries_in_the_same_folder(root, tmp_path, monkeypatch):
    trainer = Trainer()
    monkeypatch.setattr(train, "run", trainer)
    run.tune(study(root, tmp_path, ["ce"], tries=1), 1)
    run.tune(study(root, tmp_path, ["confusion_ce", "confusion_ce_shuffled"]), 1)
    run.tune(study(root, tmp_path, ["ce"]), 1)
    assert len(trainer.trained) == len(set(trainer.trained)) == 1 + 3 * 3
    found = tuning.read(tmp_path)["arms"]
    assert {key: len(arm["tried"]) for key, arm in found.items()} == dict.fromkeys(
        ("ce", "confusion_ce", "confusion_ce_shuffled"), 3
    )


def test_further_seeds_train_the_chosen_rates_alone_and_the_record_has_them_all(root, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "run", Trainer())
    in_this_process(monkeypatch)
    out, kept = tmp_path / "out", tmp_path / "kept.json"
    given = ["study", "--root", str(root), "--profile", "smoke", "--seeds", "0", "1", "2", "--tries", "3"]
    given += ["--arms", "subnets_confusion_ce_sum", "ce_continued", "--out", str(out), "--keep", str(kept)]
    assert cli.main(given) == 0
    record = json.loads(kept.read_text())
    assert record == json.loads((out / "study.json").read_text())
    trained = {file.name.split(".")[0] for file in (out / "seed1" / "checkpoints").glob("*.evaluation.npz")}
    chosen = {
        "ce_rate_0_03",
        "confusion_ce_rate_0_03",
        "subnets_confusion_ce_rate_0_09",
        "ce_continued_rate_0_03",
    }
    assert trained == {"base", *chosen}
    keys = ["base", "ce", "confusion_ce", "subnets_confusion_ce", "ce_continued", "subnets_confusion_ce_sum"]
    assert [arm["key"] for arm in record["arms"]] == keys
    assert all(list(arm["seeds"]) == ["0", "1", "2"] for arm in record["arms"])
    by_key = {arm["key"]: arm for arm in record["arms"]}
    assert by_key["subnets_confusion_ce"]["updates"] == by_key["ce_continued"]["updates"] == 3
    assert by_key["ce"]["mean_iou"] == metrics.mean_iou(invented("ce_rate_0_03", 0.03).sum(0))
    assert record["groups"] == dict.fromkeys("012", [[1, 2], [3, 4]])
    assert record["data"]["classes"] == [name for name, *_ in made_up_data.CLASSES]
    assert (record["data"]["train_images"], record["data"]["images"], record["data"]["block"]) == (8, 4, 1)
    claims = {(d["claim"], d["measure"]) for d in record["differences"] if d["claim"]}
    assert claims == {(claim, measure) for claim in ("loss", "whole") for measure in ("mean_iou", "inside")}
    assert record["command"].startswith(
        f"confseg study --root {root.name} --profile smoke --seeds 0 1 2 --tries 3"
    )
    assert record["settings"]["phases"][0]["epochs"] == 1 and "cells" not in record["settings"]


def test_tries_that_diverge_are_not_chosen_and_what_needs_an_arm_without_any_is_left_out(
    root, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(train, "run", Trainer(diverging=("ce_rate_0_03", "confusion_ce_rate")))
    in_this_process(monkeypatch)
    given = ["study", "--root", str(root), "--profile", "smoke", "--out", str(tmp_path), "--tries", "3"]
    assert cli.main([*given, "--arms", "subnets_confusion_ce_sum", "ce_continued"]) == 0
    found = tuning.read(tmp_path)["arms"]
    assert set(found) == {"ce", "confusion_ce", "ce_continued"}
    assert found["ce"]["chosen"] != 0.03 and found["ce"]["tried"][2] == {"rate": 0.03, "mean_iou": None}
    assert found["confusion_ce"]["chosen"] is None
    record = json.loads((tmp_path / "study.json").read_text())
    assert [arm["key"] for arm in record["arms"]] == ["base", "ce", "ce_continued"]
    assert "confusion_ce is left out, and what goes on from it" in capsys.readouterr().err


def test_the_seed_that_was_tuned_by_stays_when_others_are_asked_for(root, tmp_path, monkeypatch):
    trainer = Trainer()
    monkeypatch.setattr(train, "run", trainer)
    in_this_process(monkeypatch)
    given = ["study", "--root", str(root), "--profile", "smoke", "--out", str(tmp_path), "--arms", "ce"]
    assert cli.main([*given, "--seeds", "4"]) == 0
    assert cli.main([*given, "--seeds", "2", "3"]) == 0
    assert tuning.read(tmp_path)["seed"] == 4
    record = json.loads((tmp_path / "study.json").read_text())
    assert [list(arm["seeds"]) for arm in record["arms"]] == [["2", "3"]] * 2


def test_images_that_belong_together_are_the_data_sets_or_those_given(root, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "run", Trainer())
    one = study(root, tmp_path, ["confusion_ce", "ce"], tries=1, wanted=(0,))
    run.tune(one, 1)
    alone, together = (results.collect(dataclasses.replace(one, block=n), "x") for n in (None, 4))
    assert (alone["data"]["block"], together["data"]["block"]) == (1, 4)
    # a block of all images holds each of them once: nothing varies
    low, high = together["differences"][0]["interval"]
    assert low == high == pytest.approx(together["differences"][0]["mean"])
    first, last = alone["differences"][0]["interval"]
    assert first < low < last


# ---- the time


def test_trainings_are_begun_when_a_process_is_free():
    assert estimate.makespan([3, 1, 1, 1], 2) == 3
    assert estimate.makespan([1, 1, 3], 2) == 4
    assert estimate.makespan([], 2) == 0


def test_a_dry_run_adds_up_all_tries_and_seeds(root, tmp_path, monkeypatch):
    one = study(root, tmp_path, ["subnets_ce"], tries=3, wanted=(0, 1, 2))
    hours = {"base": 1.0, "ce_rate_0_01": 0.5, "subnets_ce_rate_0_3": 0.25}
    record = {
        "phases": [{"name": name, "hours": value, "groups": []} for name, value in hours.items()],
        "matrices": [{"phase": "base", "hours": 0.5}],
        "evaluations": [{"phase": name, "hours": 0.25} for name in hours],
    }
    monkeypatch.setattr(estimate.dry_run, "run", lambda recipe, root, images: record)
    found = estimate.measure(one, 2)
    assert found["base"] == 1.75 * 3600
    assert found["arms"] == {"ce": 0.75 * 3600, "subnets_ce": 0.5 * 3600}
    assert found["tuning"] == (1.75 + 2 * 0.75 + 2 * 0.5) * 3600
    assert found["whole"] == found["tuning"] + 3 * 3600
    said = estimate.text(found)
    assert (
        "about 7 h 15 min" in said and "subnets_ce" in said and "8 training and 4 validation images" in said
    )


# ---- the command


def test_drawn_scenes_are_studied_as_what_they_are():
    words = drawn.command(["--seeds", "0"])
    assert words[:3] == ["study", "--data", "cityscapes"] and words[-2:] == ["--seeds", "0"]
    assert Path(words[words.index("--root") + 1]).name == "512x256-train240-val60-seed0"
    assert words[words.index("--name") + 1] == "drawn"


def test_a_reader_types_the_program_that_knows_the_drawn_scenes(root, tmp_path):
    """Not `confseg study` with the folder of the scenes, which is nowhere else."""
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    one = study(root, tmp_path)
    given = parser.parse_args(drawn.command(["--families", "main"])[1:])
    assert verb.typed(one, given) == "python -m experiments.study.drawn --seeds 0 1 --tries 3 --families main"
    own = verb.typed(one, parser.parse_args(["--root", str(root)]))
    assert own == f"confseg study --root {root.name} --seeds 0 1 --tries 3"


def test_an_error_of_the_command_is_one_sentence(root, tmp_path, capsys):
    given = ["study", "--root", str(root), "--out", str(tmp_path / "out")]
    assert cli.main([*given, "--arms", "subnet_ce"]) == 1
    assert capsys.readouterr().err.startswith(
        "confseg: a study has no arm 'subnet_ce'; did you mean subnets_ce?"
    )
    with pytest.raises(SystemExit):
        cli.main([*given, "--split", "train"])
    assert "the study is trained on these images" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_folder_of_a_study_has_the_datas_name():
    assert verb.name_of("custom", Path("/somewhere/street views")) == "street-views"
    assert verb.name_of("camvid", Path("/somewhere/else")) == "camvid"


def test_a_run_folder_goes_on_with_a_recipe_that_gained_phases(root, tmp_path):
    one = study(root, tmp_path)
    known = list(one.arms)
    tried = {arm.key: tuning.rates(arm, 3) for arm in known if arm.trained}
    rates = {key: values[0] for key, values in tried.items()}
    part, whole = (one.recipe(known[:count], tried, rates, 0).config() for count in (1, len(known)))
    folder = RunFolder(tmp_path / "run", part)
    folder.go_on(whole)
    assert json.loads((tmp_path / "run" / "config.json").read_text()) == json.loads(json.dumps(whole))
    with pytest.raises(RunError, match="holds a run with other settings"):
        folder.go_on({**whole, "seed": 1})
    words = "import json, sys; from gluon_confseg.run_folder import RunFolder as Folder; "
    words += "Folder(sys.argv[1], json.load(sys.stdin))"
    words, given = [sys.executable, "-c", words, str(tmp_path / "run")], json.dumps(whole)
    held = subprocess.run(words, input=given, cwd=PROJECT, capture_output=True, text=True)
    assert "another process is working in this run folder" in held.stderr


# ---- trainings


SMALLEST = ["--profile", "smoke", "--arms", "subnets_ce", "--tries", "3", "--processes", "1"]


def command(root: Path, out: Path) -> list:
    return [sys.executable, "-m", "gluon_confseg", "study", "--root", str(root), "--out", str(out), *SMALLEST]


def record_of(out: Path) -> dict:
    found = json.loads((out / "study.json").read_text())
    del found["minutes"]
    return found


@pytest.mark.slow
def test_a_killed_study_goes_on_to_the_same_record(root, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)}
    for out in ("whole", "killed"):
        words = [*command(root, tmp_path / out), "--seeds", "0", "1"]
        for wanted in (
            ("seed0/checkpoints/ce_rate_0_01.npz", "seed1/checkpoints/base.npz") if out == "killed" else ()
        ):
            process = subprocess.Popen(
                words, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
            )
            while not (tmp_path / out / wanted).exists():
                assert process.poll() is None
                time.sleep(0.1)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert subprocess.run(words, env=environment, stderr=subprocess.DEVNULL).returncode == 0
    assert record_of(tmp_path / "killed") == record_of(tmp_path / "whole")
    for number in (0, 1):
        files = (tmp_path / "whole" / f"seed{number}").glob("checkpoints/*.npz")
        for file in files:
            assert (
                tmp_path / "killed" / file.relative_to(tmp_path / "whole")
            ).read_bytes() == file.read_bytes()
    found = record_of(tmp_path / "whole")
    assert [arm["key"] for arm in found["arms"]] == ["base", "ce", "subnets_ce"]
    assert found["groups"]["0"]


@pytest.mark.slow
def test_a_try_that_diverges_in_training_is_left_out(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(tuning.FACTORS, 3, (1.0, 1e30, 1e36))
    monkeypatch.setitem(plan.PROFILES, "smoke", plan.PROFILES["smoke"]._replace(epochs=(1, 2, 1)))
    given = ["study", "--root", str(root), "--profile", "smoke", "--arms", "ce_continued", "--tries", "3"]
    assert cli.main([*given, "--processes", "1", "--out", str(tmp_path)]) == 0
    found = tuning.read(tmp_path)["arms"]["ce"]
    assert found["chosen"] == 0.01
    assert [entry["mean_iou"] is None for entry in found["tried"]] == [False, True, True]
