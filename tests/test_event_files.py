"""TensorBoard event files: they hold what happened, they change nothing, and a run that goes on continues them exactly.

They are read by a reader of this file's own, strictly: a damaged or doubled record is not passed over.
"""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import side_task
import small
from PIL import Image

from gluon_confseg import checkpoint, cli, event_files, groups, live, metrics, train
from gluon_confseg.errors import RunError
from gluon_confseg.recipe import Cell, phase
from gluon_confseg.run_folder import RunFolder

SPEED = "training/images per second"  # differs from run to run
FIRST, EPOCHS, BATCHES = (
    3,
    2,
    3,
)  # records before the first step: the version and the start; then those of each epoch


@pytest.fixture(autouse=True)
def library(request):
    if "without" not in request.node.name:
        pytest.importorskip("tensorboardX", reason="tensorboardX is not installed: make setup-tensorboard")


def crc32c(content: bytes) -> int:
    """The checksum of Castagnoli, bit by bit."""
    register = 0xFFFFFFFF
    for byte in content:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def masked(content: bytes) -> int:
    found = crc32c(content)
    return ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFFFFFF


def events(folder: Path) -> list:
    """All events of a folder's files, each record with the right length and checksums, and nothing after the last."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.iterdir()):
        content, place, here = file.read_bytes(), 0, []
        while place < len(content):
            (size,) = struct.unpack("<Q", content[place : place + 8])
            header, body = content[place : place + 8], content[place + 12 : place + 12 + size]
            sums = struct.pack("<I", masked(header)), struct.pack("<I", masked(body))
            assert (content[place + 8 : place + 12], content[place + 12 + size : place + 16 + size]) == sums
            here.append(Event.FromString(body))
            place += 16 + size
        assert here[0].file_version == "brain.Event:2"
        found += here
    return found


def series(folder: Path) -> dict:
    """tag -> [(step, number or PNG)] in the order of the files."""
    found = {}
    for event in events(folder):
        for value in event.summary.value:
            content = value.image.encoded_image_string or value.simple_value
            found.setdefault(value.tag, []).append((event.step, content))
    return found


def exact(folder: Path) -> dict:
    """The same but for what a clock says."""
    found = series(folder)
    speeds = found.pop(SPEED)
    assert all(speed > 0 for _, speed in speeds)
    return {**found, SPEED: [step for step, _ in speeds]}


def recipe(kind: str = "subnet0"):
    trained = {"epochs": EPOCHS, "learning_rate": 0.1, "warm_up": 2}
    phases = [phase(kind, **trained)]
    if kind == "subnets":
        phases = [phase("base", epochs=0), phase(kind, "base", "subnets", **trained)]
    cells = [Cell("cell", "all" if kind == "subnets" else "0", "CE", kind)]
    return small.recipe(phases, cells, validate_every=1)


def run(folder, kind: str = "subnet0", tensorboard: bool = True) -> RunFolder:
    told = recipe(kind)
    opened = RunFolder(folder, told.config(), save_every=0.0, tensorboard=tensorboard)
    train.run(told, small.data(), opened)
    return opened


@pytest.fixture
def drawn(monkeypatch):
    """Pictures take a second each, and are looked at in one test alone."""
    monkeypatch.setattr(live, "_drawn", lambda draw, *content: (1, 1, content[-1].encode()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of subnets with all its pictures, that was never interrupted."""
    pytest.importorskip("tensorboardX")
    return run(tmp_path_factory.mktemp("whole") / "run", "subnets")


def test_the_checksum_of_this_file_is_the_known_one():
    assert crc32c(b"123456789") == 0xE3069283


# ---- what they hold


def test_the_curves_are_those_of_the_log_and_of_the_matrices(whole):
    found, log = series(whole.path / "tensorboard" / "subnets"), whole.logged()
    steps, ends = list(range(1, EPOCHS * BATCHES + 1)), [BATCHES * (epoch + 1) for epoch in range(EPOCHS)]
    rates = [recipe("subnets").phase("subnets").rate_at(step - 1, steps[-1]) for step in steps]
    assert [step for step, _ in found["training/loss"]] == steps == [step for step, _ in found[SPEED]]
    np.testing.assert_allclose([rate for _, rate in found["training/learning rate"]], rates, rtol=1e-6)
    losses = np.array([loss for _, loss in found["training/loss"]]).reshape(EPOCHS, BATCHES).mean(1)
    np.testing.assert_allclose(losses, [sum(record["loss"].values()) for record in log], rtol=1e-6)
    for name in ("subnet1", "subnet2"):
        expected = [pytest.approx((end, record["loss"][name])) for end, record in zip(ends, log)]
        assert found[f"losses of epochs/{name}"] == expected
    scores = [pytest.approx((end, record["val_mean_iou"])) for end, record in zip(ends, log)]
    assert found["validation/mIoU"] == scores
    (end, score), record = found["validation/mIoU on training images"][0], log[-1]
    assert (end, score) == pytest.approx((ends[-1], record["train_mean_iou"]))
    counts = whole.evaluation("subnets")["residual_product"].sum(0)
    for name, iou in zip("abcde", metrics.iou(counts)):
        assert found[f"validation IoU of classes/{name}"][-1] == pytest.approx((ends[-1], iou))
    for number, (group, words) in enumerate(zip(small.GROUPS, ("a, b", "e, c")), 1):
        inside = groups.inside(metrics.normalize(counts), group)
        tag = f"confusion inside groups/group {number}: {words}"
        assert found[tag][-1] == pytest.approx((ends[-1], inside))


def test_after_each_validation_there_is_a_picture_of_the_matrix_and_one_of_some_images(whole):
    found = events(whole.path / "tensorboard" / "subnets")
    pictures = [value.image for event in found for value in event.summary.value if value.HasField("image")]
    assert len(pictures) == 2 * EPOCHS
    for picture in pictures:
        with Image.open(io.BytesIO(picture.encoded_image_string)) as opened:
            assert opened.size == (picture.width, picture.height) and len(set(opened.getdata())) > 5


def test_images_are_shown_beside_label_prediction_and_errors():
    colors = [(200, 0, 0), (0, 0, 200)]
    image = np.full((2, 4, 3), 90, np.uint8)
    label, prediction = np.uint8([[0, 0, 1, 255], [0, 0, 1, 1]]), np.uint8([[0, 0, 1, 1], [0, 0, 1, 0]])
    row, size = live._row(image, label, prediction, colors), live.HEIGHT
    assert row.shape == (size, 4 * 2 * size + 3 * live.GAP, 3)
    parts = [row[:, number * (2 * size + live.GAP) :][:, : 2 * size] for number in range(4)]
    above, below = (
        [part[place, size * 7 // 4].tolist() for part in parts] for place in (size // 4, size * 3 // 4)
    )
    assert above == [[90] * 3, [0] * 3, [0, 0, 200], [0] * 3]  # without a label
    assert below == [[90] * 3, [0, 0, 200], [200, 0, 0], [213, 50, 20]]  # wrong
    assert parts[3][0, 0].tolist() == [200] * 3  # right


def test_a_matrix_of_many_classes_shows_the_most_confused_ones(monkeypatch):
    seen = []
    monkeypatch.setattr(live, "_drawn", lambda draw, *content: seen.append(content))
    size, pair = live.CLASSES + 20, [3, live.CLASSES + 7]
    shares = np.eye(size)
    shares[np.ix_(pair, pair)] = 0.5
    live._confusion(shares, [f"c{number}" for number in range(size)], [pair], "epoch 1")
    inside, names, shown, title = seen[0]
    assert inside.shape == (live.CLASSES, live.CLASSES) and title.endswith(f"of {size} classes")
    assert [[names[place] for place in group] for group in shown] == [[f"c{klass}" for klass in pair]]
    assert inside[np.ix_(shown[0], shown[0])].tolist() == [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.parametrize("name", ["base", "ce", "confusion_ce", "subnets_ce"])
def test_groups_that_are_discovered_are_followed_from_the_phases_on_that_come_after_their_matrix(name):
    from experiments import own

    found = own.PROFILES["quick"]
    matrix = np.eye(4, dtype=np.int64) * 80 + np.kron(np.eye(2, dtype=np.int64), np.full((2, 2), 10))
    labels = small.Images(classes=4).labels

    class Folder:
        """What a run folder says of its matrix, which is there."""

        def matrices(self):
            return {"train": matrix}

        def matrix_name(self, phase):
            return "train"

        def training_matrix(self, phase):
            return matrix

    followed = train.groups_followed(found, found.phase(name), labels, Folder())
    assert followed == ([] if name == "base" else [(0, 1), (2, 3)])


# ---- what they change: nothing


def outcome(opened: RunFolder, kind: str) -> tuple:
    log = [{k: v for k, v in record.items() if k != "seconds"} for record in opened.logged()]
    arrays = [checkpoint.load(file)[0] for file in (opened.checkpoint(kind), opened.best(kind))]
    return arrays, log, json.loads((opened.path / "results.json").read_text())


@pytest.mark.slow
def test_a_training_ends_with_the_same_bits_with_and_without_them(whole, tmp_path):
    without = run(tmp_path / "run", "subnets", tensorboard=False)
    assert not (without.path / "tensorboard").exists()
    (arrays, *rest), (expected, *rest_expected) = outcome(without, "subnets"), outcome(whole, "subnets")
    assert all(map(small.same_bits, arrays, expected)) and rest == rest_expected


# ---- a run that goes on


class Kill(BaseException):
    """What nothing catches."""


def killed_at(monkeypatch, folder, number: int, loses: bool) -> None:
    """Train until record `number` is written: half of it is, or (`loses`) what was not synced is lost."""
    from tensorboardX.record_writer import RecordWriter

    own, left = RecordWriter.write, [number]

    def write(writer, content):
        left[0] -= 1
        if left[0]:
            return own(writer, content)
        if loses:
            os.dup2(os.open(os.devnull, os.O_WRONLY), writer._writer.fileno())
        else:
            own(writer, content)
            writer._writer.flush()
            os.truncate(writer.path, os.path.getsize(writer.path) - len(content) // 2)
        raise Kill

    with monkeypatch.context() as patched:
        patched.setattr(event_files, "FLUSHED", np.inf if loses else 0.0)
        patched.setattr(RecordWriter, "write", write)
        with pytest.raises(Kill):
            run(folder)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(live, "_drawn", lambda draw, *content: (1, 1, content[-1].encode()))
        opened = run(tmp_path_factory.mktemp("uninterrupted") / "run")
    return exact(opened.path / "tensorboard" / "subnet0")


# steps 1, 2, 3, the end of the epoch, steps 4, 5, 6, the end
@pytest.mark.slow
@pytest.mark.parametrize(
    "number, loses", [(FIRST + 1, False), (FIRST + 3, True), (FIRST + 4, False), (FIRST + 7, True)]
)
def test_killed_and_gone_on_with_they_are_as_if_nothing_had_been(
    monkeypatch, tmp_path, drawn, uninterrupted, number, loses
):
    killed_at(monkeypatch, tmp_path / "run", number, loses)
    opened = run(tmp_path / "run")
    assert exact(opened.path / "tensorboard" / "subnet0") == uninterrupted


@pytest.mark.slow
def test_a_state_that_is_damaged_takes_them_back_to_the_one_before(
    monkeypatch, tmp_path, drawn, uninterrupted
):
    killed_at(monkeypatch, tmp_path / "run", FIRST + 6, False)
    latest = max(tmp_path.rglob("*.progress-*.npz"), key=lambda file: file.stat().st_mtime_ns)
    latest.write_bytes(latest.read_bytes()[:-9])
    opened = run(tmp_path / "run")
    assert exact(opened.path / "tensorboard" / "subnet0") == uninterrupted


@pytest.mark.slow
def test_a_tensorboard_that_watches_is_told_from_which_step_on_things_come_anew(monkeypatch, tmp_path, drawn):
    killed_at(monkeypatch, tmp_path / "run", FIRST + 5, False)
    folder = run(tmp_path / "run").path / "tensorboard" / "subnet0"
    starts = [event.step for event in events(folder) if event.HasField("session_log")]
    assert starts == [1, 5]  # the state that it goes on from had four steps
    assert [file.name for file in sorted(folder.iterdir())] == [
        "events.out.tfevents.000001",
        "events.out.tfevents.000002",
    ]


@pytest.mark.slow
def test_steps_that_were_trained_without_them_are_a_gap_which_is_said(monkeypatch, tmp_path, drawn, capsys):
    killed_at(monkeypatch, tmp_path / "run", FIRST + 2, False)  # step 3 is not saved
    from tensorboardX.record_writer import RecordWriter

    def no_more(opened, name, at, *_):
        saved(opened, name, at, *_)
        if at.epoch == 1:
            raise Kill

    saved = RunFolder.save
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "save", no_more)
        patched.setattr(RecordWriter, "__init__", None)  # nothing may open one
        with pytest.raises(Kill):
            run(tmp_path / "run", tensorboard=False)
    capsys.readouterr()
    opened = run(tmp_path / "run")
    (said,) = (line for line in capsys.readouterr().err.splitlines() if "gap" in line)
    assert "subnet0" in said and "before step 3" in said
    steps = [step for step, _ in series(opened.path / "tensorboard" / "subnet0")["training/loss"]]
    assert steps == [1, 2, 4, 5, 6]


def test_a_finished_run_leaves_them_as_they_are(whole):
    before = {file: file.read_bytes() for file in whole.path.rglob("*tfevents*")}
    whole._lock.close()
    run(whole.path, "subnets")
    assert {file: file.read_bytes() for file in whole.path.rglob("*tfevents*")} == before


@pytest.mark.slow
def test_phases_that_are_trained_side_by_side_write_their_own_and_the_same(tmp_path):
    here = Path(__file__).resolve().parent
    paths = os.pathsep.join([str(here.parent), str(here), *filter(None, [os.environ.get("PYTHONPATH")])])
    for jobs in ("1", "2"):
        # one thread for each phase both times, so that the phases end with the same bits
        subprocess.run(
            [sys.executable, str(here / "side_task.py"), str(tmp_path / jobs), jobs, "tensorboard"],
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": jobs},
            check=True,
        )
    alone, beside = (tmp_path / jobs / "tensorboard" for jobs in ("1", "2"))
    wanted = sorted(set(side_task.PHASES) - {"base"})  # which has no steps
    assert sorted(folder.name for folder in beside.iterdir()) == wanted
    for name in wanted:
        assert exact(beside / name) == exact(alone / name)


def test_read_gives_what_is_in_the_files(whole):
    folder = whole.path / "tensorboard" / "subnets"
    assert event_files.read(folder) == events(folder)


# ---- on the command line


def test_without_tensorboardx_it_is_one_sentence_before_anything_is_drawn(monkeypatch, tmp_path, refuse):
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboardX"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.chdir(tmp_path)
    said = refuse("train", "drawn", "--profile", "smoke", "--tensorboard")
    assert "pip install tensorboardX" in said and not list(tmp_path.iterdir())
    with pytest.raises(RunError, match="make setup-tensorboard"):
        RunFolder(tmp_path / "run", {}, tensorboard=True)
    assert not list(tmp_path.iterdir())


def test_it_does_nothing_in_a_dry_run_and_says_so_without_a_traceback(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "drawn", "--dry-run", "--tensorboard"])
    assert "--tensorboard does nothing in a dry run" in capsys.readouterr().err
