"""Training: what is said of it, what stops it, what it leaves out, and that its numbers are those of `confseg`."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
import small
from mxnet import gluon
from test_own import CLASSES, COLORS, draw
from test_recipe import SETTINGS

from gluon_confseg import checkpoint as checkpoints
from gluon_confseg import cli, engine, network, report, train
from gluon_confseg.cli.train import open_data
from gluon_confseg.errors import CheckpointError, RunError, Stopped
from gluon_confseg.recipe import Cell, phase
from gluon_confseg.run_folder import Position, RunFolder

PROJECT = Path(__file__).resolve().parents[1]
ALONE, FUSED = Cell("alone", "0", "CE", "base"), Cell("fused", "all", "CE", "subnets_ce")


def run(recipe, folder, data=None, **settings) -> RunFolder:
    opened = RunFolder(folder, recipe.config())
    train.run(recipe, data or small.data(), opened, **settings)
    return opened


def read(folder: RunFolder, name: str) -> dict:
    return json.loads((folder.path / name).read_text())


def two_phases(**settings):
    phases = [phase("base", epochs=1), phase("subnets_ce", "base", "subnets", epochs=1)]
    return small.recipe(phases, [ALONE, FUSED], **settings)


# ---- values that are not finite


def spoil(block, name: str) -> None:
    parameter = block._collect_params_with_prefix()[name]
    values = parameter.data().asnumpy()
    values.flat[0] = np.nan
    parameter.set_data(mx.nd.array(values))


@pytest.mark.parametrize(
    "name", ["encoder.layer1.0.conv1.weight", "subnets.0.output.bias", "encoder.bn1.running_var"]
)
def test_a_network_with_nan_is_neither_saved_nor_loaded_and_the_parameter_is_named(tmp_path, name):
    run, built = RunFolder(tmp_path, {}), small.build()
    trainer = engine.sgd(built._collect_params_with_prefix())
    run.save("base", Position(epoch=1), built, trainer)
    arrays = checkpoints.network_arrays(built)
    spoil(built, name)
    for save in (
        lambda: run.save("base", Position(epoch=2), built, trainer),
        lambda: run.save_best("base", Position(), built, {}, 0.5),
        lambda: run.finish("base", built, {}),
    ):
        with pytest.raises(CheckpointError, match=rf"{re.escape(name)} holds values that are not finite"):
            save()
    assert [file.name for file in tmp_path.rglob("*.npz")] == ["base.progress-1.npz"]
    arrays[f"parameter:{name}"].flat[0] = np.inf
    meta = {"network": built.settings, "rule": "sum", "labels": "cityscapes"}
    checkpoints.save(tmp_path / "net.npz", arrays, meta)
    with pytest.raises(
        CheckpointError, match=rf"net.npz: {re.escape(name)} holds values that are not finite"
    ):
        network.load(tmp_path / "net.npz")


def test_a_phase_does_not_train_on_from_a_network_with_nan(tmp_path):
    told = two_phases()
    folder = run(told, tmp_path, cells=["alone"])
    arrays, meta = checkpoints.load(folder.checkpoint("base"))
    arrays["parameter:encoder.layer2.0.conv1.weight"].flat[7] = np.nan
    checkpoints.save(folder.checkpoint("base"), arrays, meta)
    with pytest.raises(
        CheckpointError, match=r"base.npz: encoder.layer2.0.conv1.weight holds values that are not"
    ):
        run(told, tmp_path)
    assert not folder.checkpoint("subnets_ce").exists()


# ---- what is said of training


def test_every_step_has_the_rate_of_its_number_in_the_phase_also_when_the_run_goes_on(tmp_path, monkeypatch):
    told, rates = small.recipe([phase("base", epochs=2)], [ALONE]), []
    own = gluon.Trainer.set_learning_rate

    def noted(trainer, rate):
        rates.append(rate)
        if (
            len(rates) == 5
        ):  # in the fifth step, which is torn: the run goes on from the end of the first epoch
            raise Stopped(signal.SIGTERM)
        own(trainer, rate)

    monkeypatch.setattr(gluon.Trainer, "set_learning_rate", noted)
    with pytest.raises(Stopped):
        run(told, tmp_path)
    folder = run(told, tmp_path)
    wanted = [told.phases[0].rate_at(step, 6) for step in range(6)]
    assert rates == [*wanted[:5], *wanted[3:]] and len(set(wanted)) == 6
    assert [record["learning_rate"] for record in folder.logged()] == [wanted[2], wanted[5]]


def test_a_loss_that_grows_and_stays_finite_is_said_and_logged(tmp_path, monkeypatch, capsys):
    class Growing(engine.Subnet0Step):
        steps = 0

        def __call__(self, images, labels):
            Growing.steps += 1
            return {
                name: loss * (1 if Growing.steps <= 3 else 100)
                for name, loss in super().__call__(images, labels).items()
            }

    monkeypatch.setitem(engine.STEPS, "subnet0", Growing)
    folder = run(small.recipe([phase("base", epochs=2)], [ALONE]), tmp_path)
    assert [record.get("diverged") for record in folder.logged()] == [None, True]
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "diverges" in line]
    assert said.startswith("base: the mean loss of epoch 2 is") and "lower learning rate" in said


def scores(monkeypatch, validation, training: float = 0.5) -> list:
    """Give validation these mIoUs, one after the other; returns the networks' values at each."""
    left, seen, own = list(validation), [], train.counted

    def counted(title, network, dataset, indices, rules, **settings):
        if title not in ("validation", "training images"):
            return own(title, network, dataset, indices, rules, **settings)
        seen.append(small.values(network))
        share = training if title == "training images" else left.pop(0)
        # classes as large as each other, each with the same share of its pixels taken for the next class
        wrong = round(1e6 * (1 - share) / (1 + share))
        counts = np.eye(small.CLASSES, dtype=np.int64) * (10**6 - wrong)
        counts += np.roll(np.eye(small.CLASSES, dtype=np.int64), 1, axis=1) * wrong
        counts[1, 3] += 77  # the pair that is confused most
        counts[1, 2] += 10**6
        return {rule: counts[None] for rule in rules}

    monkeypatch.setattr(train, "counted", counted)
    return seen


def test_validation_is_logged_every_so_many_epochs_and_the_best_network_is_kept(tmp_path, monkeypatch):
    seen = scores(monkeypatch, [0.4, 0.8, 0.6])
    folder = run(small.recipe([phase("base", epochs=5)], [ALONE], validate_every=2), tmp_path)
    log = folder.logged()
    assert [record["epoch"] for record in log if "val_mean_iou" in record] == [2, 4, 5]
    logged = [record["val_mean_iou"] for record in log if "val_mean_iou" in record]
    assert logged[1] == max(logged) > logged[2] > logged[0]
    for record in log[1::2]:
        assert (record["worst"]["truth"], record["worst"]["prediction"]) == ("b", "c")
        assert 0.5 < record["worst"]["share"] < 1
    arrays, meta = checkpoints.load(folder.best("base"))
    assert meta["mean_iou"] == max(logged) and meta["epoch"] == 4
    kept = {name[len("parameter:") :]: values for name, values in arrays.items()}
    assert small.same_bits(kept, seen[1]) and not small.same_bits(kept, seen[2])
    assert network.load(folder.best("base")).rule == "subnet0"
    assert read(folder, "results.json")["phases"][0]["val_mean_iou"] == logged[-1]


def test_validation_when_a_phase_ends_is_the_cells_number(tmp_path):
    folder = run(two_phases(validate_every=1), tmp_path)
    logged = {record["phase"]: record["val_mean_iou"] for record in folder.logged()}
    cells = {cell["key"]: cell["mean_iou"] for cell in read(folder, "results.json")["cells"]}
    assert logged == {"base": cells["alone"], "subnets_ce": cells["fused"]}


def test_a_best_network_that_a_signal_kept_from_the_disk_is_written_when_the_run_goes_on(
    tmp_path, monkeypatch
):
    told, own = small.recipe([phase("base", epochs=2)], [ALONE], validate_every=1), checkpoints.save

    def stopped(path, *content):
        if str(path).endswith("best.npz"):
            raise Stopped(signal.SIGTERM)
        own(path, *content)

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(checkpoints, "save", stopped)
        run(told, tmp_path)
    folder = run(told, tmp_path)
    logged = [record["val_mean_iou"] for record in folder.logged()]
    assert checkpoints.load(folder.best("base"))[1]["mean_iou"] == max(logged)


@pytest.mark.parametrize("training, parted", [(0.9, True), (0.55, False)])
def test_training_images_that_are_known_by_heart_are_said(tmp_path, monkeypatch, capsys, training, parted):
    scores(monkeypatch, [0.5], training)
    folder = run(small.recipe([phase("base", epochs=1)], [ALONE]), tmp_path)
    said = [line for line in capsys.readouterr().err.splitlines() if "by heart" in line]
    assert len(said) == parted and all(line.startswith("base: mIoU is") for line in said)
    (record,) = folder.logged()
    assert record["train_mean_iou"] > record["val_mean_iou"]


# ---- subnets that can't be trained


def no_confusion(folder) -> None:
    """A training matrix without any confusion lies there."""
    RunFolder(folder, two_phases(groups="discover").config()).save_matrices(
        {"train": np.eye(5, dtype=np.int64) * 9}
    )


LEFT_OUT = {
    "two classes": ({"classes": 2}, "discover", lambda folder: None, "with two classes"),
    "two classes, groups given": ({"classes": 2}, "a,b", lambda folder: None, "with two classes"),
    "no confusion": ({}, "discover", no_confusion, "no classes are confused enough"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", LEFT_OUT)
def test_a_run_whose_subnets_cannot_be_trained_ends_in_a_report_that_says_why(tmp_path, case, capsys):
    data, groups, prepare, why = LEFT_OUT[case]
    prepare(tmp_path)
    folder = run(two_phases(groups=groups), tmp_path, small.data(**data))
    found = read(folder, "results.json")
    assert [cell["key"] for cell in found["cells"]] == ["alone"]
    (left_out,) = found["left_out"]
    assert left_out["cell"] == "fused" and left_out["why"].startswith(why)
    assert f"is left out: {why}" in capsys.readouterr().err
    assert report.write(folder.path).read_text()
    assert not folder.checkpoint("subnets_ce").exists()


@pytest.mark.parametrize("case", LEFT_OUT)
def test_a_run_of_cells_that_are_all_left_out_is_one_sentence(tmp_path, case):
    data, groups, prepare, why = LEFT_OUT[case]
    prepare(tmp_path)
    with pytest.raises(RunError, match=f"fused.*{why}") as caught:
        run(two_phases(groups=groups), tmp_path, small.data(**data), cells=["fused"])
    assert "\n" not in str(caught.value)


def test_cells_without_subnets_need_no_matrix_that_only_groups_are_found_in(tmp_path):
    phases = [
        phase("base", epochs=1),
        phase("ce", "base", epochs=1),
        phase("subnets_ce", "ce", "subnets", epochs=1, matrix="ce"),
    ]
    folder = run(small.recipe(phases, [ALONE, FUSED], groups="discover"), tmp_path, cells=["alone"])
    assert [cell["key"] for cell in read(folder, "results.json")["cells"]] == ["alone"]
    assert not folder.checkpoint("ce").exists()


# ---- weights from a file


def test_a_phase_of_no_epochs_refuses_weights_that_lack_the_head(tmp_path):
    small.build().encoder.save_parameters(str(tmp_path / "encoder.params"))
    phases = [phase("ce", epochs=0), phase("subnets_ce", "ce", "subnets", epochs=1)]
    cells = [Cell("alone", "0", "CE", "ce"), FUSED]
    told = small.recipe(phases, cells, weights=str(tmp_path / "encoder.params"))
    with pytest.raises(
        RunError, match=r"encoder.params: lacks subnet0\..* random values \(it has no epochs\)"
    ) as caught:
        run(told, tmp_path / "run")
    assert "\n" not in str(caught.value) and not list((tmp_path / "run").rglob("*.npz"))


def test_a_phase_that_trains_subnets_alone_refuses_weights_that_lack_the_head(tmp_path):
    small.build().encoder.save_parameters(str(tmp_path / "encoder.params"))
    told = two_phases().override([f"phases.subnets_ce.weights={tmp_path / 'encoder.params'}"])
    with pytest.raises(RunError, match=r"lacks subnet0\..*it trains subnets on the frozen encoder alone"):
        run(told, tmp_path / "run")


@pytest.mark.slow
def test_a_file_of_weights_starts_any_phase_in_place_of_the_one_before(tmp_path):
    built = small.shaken(groups=(), seed=4)
    checkpoints.save(tmp_path / "net.npz", checkpoints.network_arrays(built), {})
    told = two_phases().override([f"phases.subnets_ce.weights={tmp_path / 'net.npz'}"])
    assert told.phase("subnets_ce").start is None and told.phase("subnets_ce").path == ("subnets_ce",)
    folder = run(told, tmp_path / "run")
    arrays, wanted = checkpoints.load(folder.checkpoint("subnets_ce"))[0], small.values(built)
    for name, values in wanted.items():
        np.testing.assert_array_equal(arrays[f"parameter:{name}"], values, err_msg=name)
    cells = {cell["key"]: cell for cell in read(folder, "results.json")["cells"]}
    assert cells["fused"]["updates"] == 3  # its own alone


# ---- `confseg evaluate` of a cell's checkpoint


def all_ways():
    """Cells that share a phase by other rules, one whose phase is read by another rule than the recipe's."""
    phases = [
        phase("base", epochs=4),
        phase("subnets_ce", "base", "subnets", epochs=2, learning_rate=0.5),
        phase("subnets_other", "base", "subnets", epochs=1, learning_rate=0.5),
    ]
    cells = [
        ALONE,
        FUSED,
        Cell("summed", "all", "CE", "subnets_ce", rule="sum"),
        Cell("subnet_0_of_them", "0", "CE", "subnets_ce"),
        Cell("flipped", "all", "CE", "subnets_ce", tta="flip"),
        Cell("other", "all", "CE", "subnets_other", rule="sum"),
        Cell("other_flipped", "all", "CE", "subnets_other", rule="product", tta="flip"),
    ]
    named = {"data": "custom", "groups": "grass,moss;brick,tile"}
    return small.recipe(phases, cells, other_rules=("product",), **named)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluate")
    draw(root, "train", 6, in_colors=False)
    draw(root, "val", 2, in_colors=False)
    rows = [",".join([name, *map(str, color)]) for name, color in zip(CLASSES, COLORS)]
    (root / "classes.csv").write_text("\n".join(["name,r,g,b", *rows]))
    told = all_ways()
    return root, told, run(told, root / "run", open_data(told, root))


@pytest.mark.slow
@pytest.mark.parametrize("key", [cell.key for cell in all_ways().cells])
def test_evaluate_gives_a_cells_number(evaluated, key, capsys):
    root, told, folder = evaluated
    cell = next(cell for cell in read(folder, "results.json")["cells"] if cell["key"] == key)
    loaded = network.load(folder.path / cell["checkpoint"])
    assert loaded.cells[key] == {"rule": cell["rule"], "tta": cell["tta"]}
    words = [
        "evaluate",
        str(folder.path / cell["checkpoint"]),
        "--data",
        "custom",
        "--root",
        str(root),
        "--json",
    ]
    if cell["rule"] != loaded.rule:
        words += ["--rule", cell["rule"]]
    if cell["tta"] == "flip":
        words += ["--flip"]
    assert cli.main(words) == 0
    found = json.loads(capsys.readouterr().out)
    with np.load(folder.path / "confusion.npz") as matrices:
        assert found["confusion"] == matrices[key].tolist()
    assert found["mean_iou"] == pytest.approx(cell["mean_iou"], abs=1e-12)


def test_a_checkpoint_names_the_rule_of_its_own_cell_and_rules_differ(evaluated):
    _, told, folder = evaluated
    rules = {
        name: network.load(folder.checkpoint(name)).rule for name in ("base", "subnets_ce", "subnets_other")
    }
    assert rules == {"base": "subnet0", "subnets_ce": "residual_product", "subnets_other": "sum"}
    with np.load(folder.path / "confusion.npz") as matrices:
        counted = {cell.key: matrices[cell.key].tolist() for cell in told.cells}
    for first, other in (("fused", "summed"), ("fused", "flipped"), ("fused", "alone"), ("other", "fused")):
        assert counted[first] != counted[other]
    assert counted["alone"] == counted["subnet_0_of_them"]


# ---- signals


STEPS = 64


def started(folder: Path, out: Path):
    """`confseg train` on a terminal, which shows every step."""
    settings = [*SETTINGS, f"draw.train={STEPS}", "batch_size=1", "phases.ce.epochs=0", "validate_every=0"]
    words = ["train", "drawn", "--profile", "smoke", "--save-every", "1000", "--cell", "subnet0_ce"]
    words += [word for setting in settings for word in ("--set", setting)]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 250, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "gluon_confseg", *words, "--out", str(out)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    return process, ours


def shown(terminal: int):
    """What the terminal shows, piece by piece, until nobody writes to it any more."""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            return
        if not piece:
            return
        yield piece.decode(errors="replace")


def steps_shown(text: str) -> list:
    return [int(number) for number in re.findall(rf"\bbase(?: \|[^|]*\||:) *(\d+)/{STEPS} steps", text)]


@pytest.mark.slow
def test_signals_that_end_a_run_leave_a_state_that_it_goes_on_from(tmp_path):
    """Each of them in turn, in one run whose states are saved by nothing else."""
    out, before = tmp_path / "run", 0
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        process, terminal = started(tmp_path, out)
        text = ""
        for piece in shown(terminal):
            text += piece
            if not text.count("stopped") and any(step > before + 3 for step in steps_shown(text)):
                break
        process.send_signal(number)
        text += "".join(shown(terminal))
        os.close(terminal)
        assert process.wait() == 128 + number, text
        by = "Ctrl-C" if number == signal.SIGINT else number.name
        assert f"confseg: stopped by {by}; the same command goes on from there" in text
        states = [checkpoints.load(file)[1] for file in out.glob("checkpoints/base.progress-*.npz")]
        reached = max(state["batch"] for state in states)
        assert steps_shown(text)[0] >= before and reached > before + 3
        assert not (out / "log.jsonl").exists()  # nor has an epoch ended
        before = reached
    process, terminal = started(tmp_path, out)
    text = "".join(shown(terminal))
    assert process.wait() == 0, text
    assert steps_shown(text)[0] >= before
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [(record["phase"], record["images"]) for record in records] == [("base", STEPS)]
    assert (out / "report.html").exists()
