"""What a seeded generator makes of checkpoints, weights and matrices: each is read rightly, or is one sentence."""

from __future__ import annotations

import copy
import io
import signal
import struct
import tracemalloc
import zipfile

import hostile
import mxnet as mx
import numpy as np
import pytest
import small
import torch_writer

from gluon_confseg import checkpoint, network, weights
from gluon_confseg.cli import matrices
from gluon_confseg.errors import ConfSegError

META = {"rule": "residual_product", "labels": "cityscapes", "phase": "ce"}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A good file of every kind, and what is in it."""
    from safetensors.numpy import save_file

    folder, built = tmp_path_factory.mktemp("good"), small.shaken(seed=1)
    arrays, meta = checkpoint.network_arrays(built), {**META, "network": built.settings}
    checkpoint.save(folder / "own.npz", arrays, meta)
    encoder = {k: v for k, v in small.values(built).items() if k.startswith("encoder.")}
    torch_writer.write_zip(folder / "zip.pth", {"state_dict": encoder})
    torch_writer.write_legacy(folder / "legacy.pth", encoder)
    save_file(encoder, str(folder / "a.safetensors"))
    mx.nd.save(str(folder / "a.params"), {k: mx.nd.array(v) for k, v in encoder.items()})
    content = {file.name: file.read_bytes() for file in folder.iterdir()}
    return {"network": built, "arrays": arrays, "meta": meta, "encoder": encoder, "content": content}


@pytest.fixture(autouse=True)
def no_hang():
    """A case that goes on for a minute is stopped; in the longest the generator makes, nothing takes three seconds."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("hangs"))
    signal.alarm(60)
    yield
    signal.alarm(0)


def read_or_refused(action):
    """What the action gives, or None for one sentence on the file."""
    try:
        return action()
    except ConfSegError as error:
        said = str(error)
        assert "\n" not in said and len(said) < 900 and "\x1b" not in said and ": " in said
        return None


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_checkpoints_are_read_or_refused(good, tmp_path, seed):
    content, arrays, meta = good["content"]["own.npz"], good["arrays"], good["meta"]
    file = hostile.checkpoints(tmp_path, seed, content, arrays, meta)
    loaded = read_or_refused(lambda: network.load(file))
    if loaded is not None:  # it was as good as the one it was made of: its values are the file's
        with np.load(file) as archive:
            held = {
                k.removeprefix("parameter:"): archive[k] for k in archive.files if k.startswith("parameter:")
            }
        found = small.values(loaded.network)
        assert all(np.array_equal(found[name], array.astype(np.float32)) for name, array in held.items())


@pytest.mark.parametrize("seed", range(20))
def test_weights_are_read_or_refused(good, tmp_path, seed, monkeypatch):
    monkeypatch.chdir(tmp_path)
    built, before = good["network"], copy.deepcopy(small.values(good["network"]))
    file = hostile.weights(tmp_path, seed, good["content"], good["encoder"])
    loaded = read_or_refused(lambda: weights.load(built, file))
    after = small.values(built)
    assert not (tmp_path / "canary").exists()
    if loaded is None:
        assert small.same_bits(after, before)
    else:
        changed = {name for name in after if not np.array_equal(after[name], before[name])}
        assert changed <= set(loaded.loaded) and all(np.isfinite(array).all() for array in after.values())


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_matrices_are_read_as_numpy_reads_them_or_refused(tmp_path, seed):
    file, arrays = hostile.matrices(tmp_path, seed)
    named = read_or_refused(lambda: matrices.load(file, None, None))
    if named is not None and arrays is not None:
        counts = arrays[named.record["key"]]
        assert np.array_equal(named.matrix.counts.astype(object), counts.astype(object))
        misses = arrays.get("misses", np.zeros(len(counts), int))
        assert named.matrix.misses.tolist() == misses.tolist()


# ---- what a small file may not take


def peak_of(action) -> int:
    """Bytes that NumPy and Python took at most while an action ran."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_matrix_that_unpacks_to_more_than_the_limit_is_refused_with_the_setting(tmp_path, monkeypatch):
    file = tmp_path / "bomb.npz"
    np.savez_compressed(file, counts=np.zeros((1000, 1000), np.int64))
    monkeypatch.setenv("CONFSEG_MAX_BYTES", "1000000")

    def refused():
        with pytest.raises(
            ConfSegError, match=r"unpack to 8.0 MB, more than the 1.0 MB.*CONFSEG_MAX_BYTES=8000\d+$"
        ):
            matrices.load(file, None, None)

    assert peak_of(refused) < 1_000_000
    np.savez(
        file, counts=np.zeros((500, 500), np.int64)
    )  # as large as it says, and still more than may be taken
    with pytest.raises(
        ConfSegError, match="its arrays take 2.0 MB, more than the 1.0 MB.*CONFSEG_MAX_BYTES=2000000$"
    ):
        matrices.load(file, None, None)
    monkeypatch.setenv("CONFSEG_MAX_BYTES", "2000000")
    assert len(matrices.load(file, None, None).classes) == 500


@pytest.mark.parametrize("value", ["", "many", "-1", "0", "1e9", "9" * 30])
def test_a_limit_that_is_no_number_of_bytes_is_said(tmp_path, monkeypatch, value):
    np.savez_compressed(tmp_path / "m.npz", counts=np.eye(3, dtype=int))
    monkeypatch.setenv("CONFSEG_MAX_BYTES", value)
    with pytest.raises(ConfSegError, match="CONFSEG_MAX_BYTES=.*number of bytes"):
        matrices.load(tmp_path / "m.npz", None, None)


def changed(meta: dict, **changes) -> dict:
    """A description with entries of its network, or of its head, replaced."""
    described = copy.deepcopy(meta)
    for key, value in changes.items():
        inside = described["network"]["head"] if key in described["network"]["head"] else described["network"]
        inside[key] = value
    return described


@pytest.mark.parametrize(
    "changes, said",
    [
        (
            {"channels": 60_000},
            r"another network: subnet0\..* wants \(60000,",
        ),
        ({"channels": 10**7}, "whole numbers from 1 to 65,536"),
        ({"depth": 90}, "lacks 176 of"),
        ({"depth": 10**9}, "layers of heads, and 101 arrays"),
        ({"stages": [3] * 10**5}, "layers of heads"),
        ({"dilation": 10**9}, "whole numbers from 1 to 1,024"),
        ({"groups": [[0, 1]] * 20_000}, "layers of heads"),
        ({"num_classes": 10**9}, "1000000000 classes, and no array has so many outputs"),
        ({"encoder": "resnet152"}, "another network: it lacks"),
        ({"pretrained": True}, "not pretrained ones"),
        ({"kind": "gcn", "kernel": 10**9 + 1}, "can't build"),
    ],
)
def test_a_network_that_the_file_does_not_hold_is_refused_before_it_takes_memory(
    good, tmp_path, changes, said
):
    checkpoint.save(tmp_path / "a.npz", good["arrays"], changed(good["meta"], **changes))
    with pytest.raises(ConfSegError, match=f"a.npz: .*{said}"):
        network.load(tmp_path / "a.npz")


@pytest.mark.parametrize("rule", ["vote", 7, ["sum"], None])
def test_a_rule_that_is_none_is_refused(good, tmp_path, rule):
    checkpoint.save(tmp_path / "a.npz", good["arrays"], {**good["meta"], "rule": rule})
    with pytest.raises(ConfSegError, match="no fusion rule .*choose one of subnet0"):
        network.load(tmp_path / "a.npz")


DESCRIPTIONS = {
    "nested": b"[" * 100_000,
    "a list": b"[1, 2]",
    "no text": b"\xff",
    "too long": b" " * (5 << 20),
    "no settings": b'{"network": NaN, "rule": 1}',
}


@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_a_description_that_is_none_is_refused(good, tmp_path, kind):
    content = hostile.sealed({"meta.json": np.frombuffer(DESCRIPTIONS[kind], np.uint8), **good["arrays"]})
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ConfSegError, match="a.npz: "):
        network.load(tmp_path / "a.npz")


def test_a_checkpoint_whose_arrays_are_compressed_is_not_unpacked(good, tmp_path):
    content = io.BytesIO()
    np.savez_compressed(content, zeros=np.zeros(10**7), **{"meta.json": np.frombuffer(b"{}", np.uint8)})
    (tmp_path / "a.npz").write_bytes(checkpoint._sealed(content.getvalue()))

    def refused():
        with pytest.raises(ConfSegError, match="its arrays are compressed"):
            checkpoint.load(tmp_path / "a.npz")

    assert peak_of(refused) < 3_000_000


SPARSE = {
    "a name of a gigabyte.params": struct.pack("<QQQQQ", 0x112, 0, 0, 1, (1 << 30) - 60),
    "a header of a gigabyte.safetensors": struct.pack("<Q", (1 << 30) - 60) + b"{",
    "bytes of a gigabyte.pkl": b"\x80\x04\x8e" + struct.pack("<Q", (1 << 30) - 60),
    "an archive of zeros.npz": b"PK\x03\x04",
}


@pytest.mark.parametrize("name", SPARSE)
def test_a_file_of_a_gigabyte_of_nothing_takes_no_memory(good, tmp_path, name):
    file = tmp_path / name
    with open(file, "wb") as stream:
        stream.write(SPARSE[name])
        stream.truncate(1 << 30)
    for read in (weights.formats.read, checkpoint.load, lambda path: matrices.load(path, None, None)):

        def refused(read=read):
            with pytest.raises(ConfSegError):
                read(file)

        assert peak_of(refused) < 200 << 20


# ---- matrices: what is no count is said


def loaded(tmp_path, key=None, **arrays):
    np.savez(tmp_path / "m.npz", **arrays)
    return matrices.load(tmp_path / "m.npz", key, None)


COUNTS = np.array([[5, 1], [0, 7]])


@pytest.mark.parametrize(
    "counts, said",
    [
        (COUNTS / 8, "counts holds shares, where counts of pixels are wanted"),
        (COUNTS - 1, "counts holds values below 0"),
        (np.where(COUNTS == 1, np.nan, COUNTS), "not finite"),
        ((COUNTS * 1000).astype(np.float16), "counts that float16 has rounded"),
        ((COUNTS * 10**7).astype(np.float32), "counts that float32 has rounded"),
        (COUNTS.astype(np.uint64) * 2**61, "more pixels than can be counted"),
        (COUNTS * 2**59, "more pixels than can be counted"),
        (np.array([[1, "a"], [2, 3]], object), "plain arrays"),
        (COUNTS.astype(complex), "holds no confusion matrix"),
        (np.ones((2, 3), int), "holds no confusion matrix"),
    ],
)
def test_what_is_no_matrix_of_counts_is_said(tmp_path, counts, said):
    with pytest.raises(ConfSegError, match=f"m.npz: .*{said}"):
        loaded(tmp_path, counts=counts)


def test_a_faulty_matrix_beside_a_good_one_is_named(tmp_path):
    assert "b holds values below 0" in loaded(tmp_path, a=COUNTS, b=-COUNTS).source
    with pytest.raises(ConfSegError, match="its matrix b holds values below 0"):
        loaded(tmp_path, "b", a=COUNTS, b=-COUNTS)


@pytest.mark.parametrize(
    "counts", [COUNTS, np.asfortranarray(COUNTS), COUNTS.astype(">i2"), COUNTS.astype("f4")]
)
def test_every_layout_of_a_matrix_is_read(tmp_path, counts):
    found = loaded(tmp_path, counts=counts, misses=np.array([3, 4]), classes=np.array([b"a", b"b"]))
    assert found.matrix.counts.tolist() == COUNTS.tolist() and found.matrix.misses.tolist() == [3, 4]
    assert found.classes == ("a", "b")


@pytest.mark.parametrize(
    "beside, said",
    [
        ({"misses": np.array([1, 2, 3])}, "misses are not a count for each of the matrix's 2 classes"),
        ({"misses": np.array([-1, 2])}, "misses are not"),
        ({"misses": np.array([0.5, 2])}, "misses are not"),
        ({"misses": np.array([2**63, 2], np.uint64)}, "misses are not"),
        ({"misses": np.array([1, 2]), "other": COUNTS}, "misses beside 2 matrices"),
        ({"classes": np.array(["a", "b", "c"])}, "its classes are 3 names, and its matrix has 2 classes"),
        ({"classes": np.array("a")}, "its classes are 1 names"),
    ],
)
def test_what_does_not_belong_to_the_matrix_is_said(tmp_path, beside, said):
    with pytest.raises(ConfSegError, match=f"m.npz: .*{said}"):
        loaded(tmp_path, counts=COUNTS, **beside)


def test_more_classes_than_can_be_shown_are_said(tmp_path):
    with pytest.raises(ConfSegError, match="has 1,100 classes; at most 1,024 are shown"):
        loaded(tmp_path, counts=np.eye(1100, dtype=np.uint8))


def test_records_that_are_no_arrays_are_passed_over(tmp_path):
    np.savez(tmp_path / "m.npz", counts=COUNTS)
    with zipfile.ZipFile(tmp_path / "m.npz", "a") as archive:
        archive.writestr("readme.txt", "counts of pixels")
        archive.writestr("../up.npy", hostile.npy((1,), "<i8") + bytes(8))
    assert matrices.load(tmp_path / "m.npz", None, None).record["other_keys"] == []


@pytest.mark.parametrize("number", range(len(hostile.headers())))
def test_a_header_is_not_believed(tmp_path, number):
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("counts.npy", hostile.headers()[number])
    with pytest.raises(ConfSegError, match="m.npz: is no .npz file of plain arrays"):
        matrices.load(tmp_path / "m.npz", None, None)
