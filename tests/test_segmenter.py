"""One class runs a network whatever file it is in, in whatever memory there is."""

from __future__ import annotations

import subprocess
import sys

import cv2
import layouts
import numpy as np
import pytest
import small

from gluon_confseg import checkpoint, export, onnx_export, segmenter, windows
from gluon_confseg.errors import DatasetError, RunError
from gluon_confseg.inference import Inference
from gluon_confseg.labels import LabelSpace

LABELS = LabelSpace(
    "own",
    "My own",
    ("sky", "road", "far tree", "car", "bus"),
    np.array([(1, 2, 3), (40, 0, 0), (0, 50, 0), (0, 0, 60), (70, 70, 0)], np.uint8),
    raw_ids={7: 0, 8: 1, 9: 2, 20: 3, 21: 4},
)
PICTURE = layouts.picture(3, 75, 130)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One network as a checkpoint, an exported graph, and .onnx files with scores and with classes; only read."""
    folder = tmp_path_factory.mktemp("networks")
    network = small.shaken()
    meta = {"labels": LABELS.record(), "rule": "sum", "network": network.settings}
    checkpoint.save(folder / "net.npz", checkpoint.network_arrays(network), meta)
    export.write(network, "sum", LABELS, folder / "graph" / "net")
    onnx_export.write(network, "sum", LABELS, folder / "net.onnx")
    onnx_export.write(network, "sum", LABELS, folder / "classes.onnx", pictures=True)
    return folder


@pytest.fixture(scope="module")
def trained(place):
    return segmenter.open_network(place / "net.npz")


@pytest.mark.parametrize("file", ["graph/net", "graph/net-symbol.json", "graph", "net.onnx", "classes.onnx"])
def test_an_exported_network_gives_the_classes_of_its_checkpoint(place, trained, file):
    exported = segmenter.open_network(place / file)
    assert exported.groups == trained.groups == [list(group) for group in small.GROUPS]
    assert exported.labels.classes == LABELS.classes and exported.labels.raw_ids == LABELS.raw_ids
    assert exported.title.startswith(trained.title)
    assert np.mean(exported.classes(PICTURE) == trained.classes(PICTURE)) >= 0.9999


def test_classes_are_those_of_the_largest_probability(place, trained):
    for each in (trained, segmenter.open_network(place / "net.onnx")):
        found = each.probabilities(PICTURE)
        assert found.shape == (5, 75, 130) and found.dtype == np.float32
        assert np.allclose(found.sum(0), 1, atol=1e-5)
        assert np.mean(found.argmax(0) == each.classes(PICTURE)) > 0.9999  # but for ties
        planes = each.planes(PICTURE, (1, 3), 0.5)
        assert np.array_equal(planes.classes, each.classes(PICTURE))
        for k in (1, 3):
            assert np.abs(planes.probabilities[k] - 255 * found[k]).max() <= 0.51


class Drawn:
    """In place of a network: scores follow from the colours near a pixel, and from nothing farther away."""

    labels, groups, title, record = LABELS, small.GROUPS, "drawn", {}
    gives_probabilities, on_gpu = True, False

    @staticmethod
    def both(picture: np.ndarray) -> tuple:
        near = cv2.blur(picture, (9, 9), borderType=cv2.BORDER_REPLICATE).astype(np.float32) / 255
        scores = np.stack([near[:, :, 0], near[:, :, 1], near[:, :, 2], 1 - near[:, :, 1], 1 - near[:, :, 0]])
        scores /= scores.sum(0)
        return scores.argmax(0).astype(np.uint8), scores

    def classes(self, pictures: np.ndarray) -> np.ndarray:
        return np.stack([self.both(picture)[0] for picture in pictures])


def test_rivals_are_the_second_class_where_it_is_close_and_of_the_same_group():
    scores, close = Drawn.both(PICTURE)[1], 0.01
    order = np.argsort(-scores, axis=0)
    first, second = order[0], order[1]
    lead = np.take_along_axis(scores, order[:1], 0)[0] - np.take_along_axis(scores, order[1:2], 0)[0]
    together = {pair for group in small.GROUPS for pair in (group, group[::-1])}
    grouped = np.array([pair in together for pair in zip(first.ravel(), second.ravel())]).reshape(first.shape)
    wanted = np.where(grouped & (lead < close), second, 255)
    found = segmenter.Segmenter(Drawn()).planes(PICTURE, close=close).rivals
    assert (wanted[grouped] == 255).any() and (wanted != 255).any() and not grouped.all()
    assert np.mean(found == wanted) > 0.999  # but for ties


def test_a_batch_gives_what_single_pictures_give(trained):
    pictures = [layouts.picture(number, 40, 60) for number in range(3)]
    for one, picture in zip(trained.classes_of_batch(pictures), pictures):
        assert np.mean(one == trained.classes(picture)) > 0.999
    assert trained.classes_of_batch([]) == []
    with pytest.raises(DatasetError, match="several sizes"):
        trained.classes_of_batch([pictures[0], layouts.picture(0, 40, 61)])


def test_other_views_are_those_of_a_checkpoint_alone(place):
    flipped = segmenter.open_network(place / "net.npz", inference=Inference(flip=True))
    both = flipped.probabilities(PICTURE), flipped.probabilities(PICTURE[:, ::-1])
    assert np.allclose(both[0], both[1][:, :, ::-1], atol=1e-5)
    with pytest.raises(RunError, match="leave out --flip"):
        segmenter.open_network(place / "net.onnx", inference=Inference(flip=True))
    with pytest.raises(RunError, match="fixed when it was exported"):
        segmenter.open_network(place / "graph", rule="product")
    assert segmenter.open_network(place / "net.npz", rule="subnet0").record["rule"] == "subnet0"


def test_a_network_of_classes_alone_says_so(place):
    alone = segmenter.open_network(place / "classes.onnx")
    assert not alone.gives_probabilities
    for ask in (lambda: alone.probabilities(PICTURE), lambda: alone.planes(PICTURE, close=0.1)):
        with pytest.raises(RunError, match="classes.onnx: was exported with --pictures"):
            ask()


def test_what_is_no_network_or_damaged_is_one_sentence(place, tmp_path):
    def refused(name: str, content: bytes = b"") -> str:
        if content:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(RunError) as raised:
            segmenter.open_network(tmp_path / name)
        assert "\n" not in str(raised.value)
        return str(raised.value)

    assert "no such file; write it with" in refused("gone.onnx")
    assert "can't be loaded" in refused("bad.onnx", b"no network")
    names = ("net-symbol.json", "net-0000.params", "net.json")
    content = {name: (place / "graph" / name).read_bytes() for name in names}
    assert "net-0000.params: is not there" in refused("net-symbol.json", content["net-symbol.json"])
    (tmp_path / "net-0000.params").write_bytes(content["net-0000.params"][:-9] + b"123456789")
    assert "is no JSON" in refused("net.json", b"{")
    assert "can't be used" in refused("net.json", b"{}")
    assert "net-0000.params: is damaged" in refused("net.json", content["net.json"])
    (tmp_path / "other-symbol.json").touch()
    with pytest.raises(RunError, match="several exported networks"):
        segmenter.open_network(tmp_path)


def test_what_is_no_picture_is_refused(trained):
    for wrong in (PICTURE[:, :, 0], PICTURE.astype(np.float32), PICTURE[:0]):
        with pytest.raises(DatasetError, match="give \\(H, W, 3\\) uint8"):
            trained.classes(wrong)


# ---- windows


def test_windows_cover_every_pixel_once_and_are_no_larger_than_allowed():
    draws = np.random.RandomState(0)
    for _ in range(100):
        height, width = draws.randint(1, 3000, 2)
        pixels, covered = draws.randint(windows.LEAST**2, 1500**2), np.zeros((height, width), np.uint8)
        for window in windows.cut(height, width, pixels):
            covered[window.kept] += 1
            seen = covered[window.seen]
            assert seen.size <= pixels and seen[window.inside].shape == covered[window.kept].shape
            assert window.rows.start % windows.STEP == window.columns.start % windows.STEP == 0
        assert (covered == 1).all()
    with pytest.raises(ValueError, match="too small"):
        windows.cut(1000, 1000, windows.LEAST**2 - 1)


def test_a_network_that_sees_little_around_a_pixel_gives_the_same_in_windows():
    picture, local = layouts.picture(1, 500, 700), segmenter.Segmenter(Drawn())
    local.memory = None
    whole = local.planes(picture, (2,), 0.02)
    cut = windows.cut(500, 700, 200 * 200)
    in_windows = local.planes(picture, (2,), 0.02, cut)
    assert whole.windows == 1 and in_windows.windows == len(cut) > 10
    assert np.array_equal(whole.classes, in_windows.classes)
    assert np.array_equal(whole.rivals, in_windows.rivals)
    assert np.array_equal(whole.probabilities[2], in_windows.probabilities[2])
    assert np.array_equal(local.planes(picture, cut=cut).classes, whole.classes)


def test_too_little_memory_for_any_window_is_said(place):
    tight = segmenter.open_network(place / "net.onnx", memory=10 << 20)
    with pytest.raises(
        RunError,
        match=r"a picture of 2000 x 1000 needs [\d,]+M of memory at least, where --memory allows 10M",
    ):
        tight.windows(1000, 2000, 100 << 20)


@pytest.mark.slow
def test_a_large_picture_stays_within_its_memory(place, tmp_path):
    """The peak of a process whose network would take more for the picture as a whole than is allowed in all."""
    draws = np.random.RandomState(0)
    small_picture = draws.randint(0, 256, (250, 250, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "large.png"), cv2.resize(small_picture, (4000, 4000)))
    words = ["predict", str(place / "net.npz"), str(tmp_path / "large.png"), "--out", str(tmp_path / "out")]
    words += ["--memory", "800M", "--write", "ids", "overlay", "confusion"]
    code = (
        "import re, sys; from gluon_confseg import cli; status = cli.main(sys.argv[1:]); "
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "were cut into overlapping windows" in done.stdout
    assert int(done.stdout.split()[-1]) * 1024 <= 800 << 20
    for kind in ("ids", "overlay", "confusion"):
        assert cv2.imread(str(tmp_path / "out" / kind / "large.png")).shape == (4000, 4000, 3)


def test_a_fused_export_gives_the_classes_of_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "compare", lambda prefixes: dict.fromkeys(prefixes, (1.0, 1.0, 1.0)))
    built = small.shaken("residual", stride=8)
    space = LabelSpace("five", "Five", tuple("abcde"), np.arange(15, dtype=np.uint8).reshape(5, 3))
    for variant in ("plain", "fused"):
        export.write(built, "residual_product", space, tmp_path / variant, variant=variant)
    picture = np.random.RandomState(0).randint(0, 256, (45, 77, 3)).astype(np.uint8)
    plain, fused = (
        segmenter.open_network(tmp_path / variant).classes(picture) for variant in ("plain", "fused")
    )
    assert len(np.unique(plain)) > 1 and (plain == fused).mean() > 0.999
