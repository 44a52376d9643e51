"""Damaged and hostile files of weights: one clear sentence each, nothing is run, and the network is as it was."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import resource
import struct
import zipfile

import mxnet as mx
import numpy as np
import pytest
import small
import torch_writer
from torch_writer import Opcodes, View, name, number, row, text

from gluon_confseg import checkpoint, weights
from gluon_confseg.errors import ConfSegError, WeightsError
from gluon_confseg.weights import params as params_file
from gluon_confseg.weights import safetensors_file, torch_file

CONTAINERS = {
    "zip": torch_writer.write_zip,
    "legacy": torch_writer.write_legacy,
    "pickle": torch_writer.write_pickle,
}
PAYLOADS = list(torch_writer.payloads("canary"))
ONE = np.ones(4, np.float32)


@pytest.fixture(scope="module")
def network():
    built = small.build(groups=())
    return built, small.values(built)


def refused(network, file, match: str = "", error=WeightsError) -> str:
    """Load, expect one sentence that names the file, and the network bit for bit as it was."""
    built, before = network
    with pytest.raises(error, match=match) as caught:
        weights.load(built, file)
    sentence = str(caught.value)
    assert sentence.startswith(f"{file}: ") and sentence.isprintable() and len(sentence) < 600
    assert small.same_bits(small.values(built), before)
    return sentence


def torch_arrays(network) -> dict:
    """The network's encoder under PyTorch's names."""
    ends = {"gamma": "weight", "beta": "bias"}
    found = {}
    for called, array in network[1].items():
        start, _, end = called.rpartition(".")
        if start.startswith("encoder."):
            found[f"{start[len('encoder.') :]}.{ends.get(end, end)}"] = array
    return found


# ---- pickles that do more than hold tensors


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_code_in_a_pickle_is_refused_by_name_and_not_run(network, tmp_path, payload, container):
    canary, file = tmp_path / "canary", tmp_path / "hostile.pth"
    opcodes, named = torch_writer.payloads(canary)[payload]
    CONTAINERS[container](file, {"conv1.weight": ONE, "state": Opcodes(opcodes)})
    assert "nothing of it was run" in refused(network, file, named)
    assert not canary.exists()


def test_a_pickle_of_protocol_0_is_read_as_one(network, tmp_path):
    opcodes, named = torch_writer.payloads(tmp_path / "canary")["protocol 0"]
    (tmp_path / "text.pkl").write_bytes(opcodes + b".")
    refused(network, tmp_path / "text.pkl", named)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("payload", ["REDUCE", "eval", "INST", "STACK_GLOBAL", "as a state (BUILD)"])
def test_those_pickles_do_run_where_they_are_trusted(tmp_path, payload):
    canary = tmp_path / "canary"
    with contextlib.suppress(pickle.UnpicklingError):  # what was made is no good as a state: too late
        pickle.loads(b"\x80\x02" + torch_writer.payloads(canary)[payload][0] + b".")
    assert canary.exists()


ORDERED = name("collections", "OrderedDict")
TENSOR = name("torch._utils", "_rebuild_tensor_v2")
ODD = {
    "argparse.Namespace": (name("argparse", "Namespace") + b")\x81}b", "argparse.Namespace"),
    "a NumPy array": (name("numpy.core.multiarray", "_reconstruct") + b")R", "numpy.core.multiarray"),
    "a module of PyTorch": (
        name("torch.nn.modules.conv", "Conv2d") + b")\x81}b",
        "torch.nn.modules.conv.Conv2d",
    ),
    "torch.load": (name("torch", "load") + text("x") + b"\x85R", "torch.load"),
    "a name with control codes": (b"cos\x1b[2J\nsystem\n)R", r"os\\x1b"),
    "a state set on a function": (TENSOR + b"}" + text("__code__") + b"Nsb", "BUILD"),
    "a state set on a class": (ORDERED + b"}" + text("__init__") + b"Nsb", "BUILD"),
    "a state set on a list": (b"]}b", "BUILD"),
    "a call of a value": (text("x") + b")R", "a call of str"),
    "a call of a storage's type": (name("torch", "FloatStorage") + b")R", "torch.FloatStorage"),
    "an extension code": (b"\x82\x01", "copyreg's extension.1"),
    "a longer extension code": (b"\x84\x01\x00\x00\x00", "copyreg's extension.1"),
    "an external buffer": (b"\x97", "NEXT_BUFFER"),
    "a text persistent id": (b"Pstorage\n", "PERSID"),
    "a persistent id of another kind": (
        row([text("module"), ORDERED, text("0"), text("cpu"), number(4)]) + b"Q",
        "",
    ),
    "a persistent id that is short": (row([text("storage")]) + b"Q", "damaged"),
    "a persistent id that is a number": (b"K\x01Q", "damaged"),
    "a storage of a container's type": (
        row([text("storage"), ORDERED, text("0"), text("cpu"), number(4)]) + b"Q",
        "OrderedDict",
    ),
    "an empty stack": (b"00000000000000", "damaged"),
    "a memo entry that is none": (b"h\x07", "damaged"),
    "a memo entry beyond all": (b"N" + f"p{2**61}\n".encode(), "damaged"),
    "an unknown opcode": (b"\xff", "damaged"),
    "a text that is not all there": (b"X\xff\xff\xff\x7fabc", "damaged"),
    "eight exabytes of bytes": (b"\x8e" + struct.pack("<Q", 2**62), "damaged"),
    "eight exabytes of bytearray": (b"\x96" + struct.pack("<Q", 2**62), "damaged"),
    "a tensor of no arguments": (TENSOR + b")R", "damaged"),
    "items added to a tuple": (b")Na", "damaged"),
    "an odd dict": (b"(" + text("a") + b"d", "damaged"),
}


@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_plain_data_is_refused(network, tmp_path, odd):
    opcodes, named = ODD[odd]
    for container in (torch_writer.write_zip, torch_writer.write_legacy):
        container(tmp_path / "odd.pth", {"conv1.weight": ONE, "state": Opcodes(opcodes)})
        refused(network, tmp_path / "odd.pth", named)


def bombs():
    deep, wide = 200_000, 60_000
    laughs = b"]q\x00(" + text("x") * 9 + b"e"
    for level in range(1, 200):
        laughs += b"]q" + bytes([level]) + b"(" + b"h" + bytes([level - 1])
        laughs += (b"h" + bytes([level - 1])) * 8 + b"e"
    copies = b"](" + b"N" * wide + b"eq\x00" + (name("builtins", "list") + b"h\x00\x85R0") * 200 + b"N"
    return {
        "nested tuples as a key": b"}" + b"N" + b"\x85" * deep + b"Ns",
        "nested lists": b"]" * deep + b"a" * (deep - 1),
        "a billion laughs": laughs,
        "a list that holds itself": b"]q\x00h\x00a",
        "copies of a list": copies,
        "a memo of four billion": b"Nr\xff\xff\xff\xff",
        "a million opcodes": b"N0" * 600_000 + b"N",
        "names of a megabyte": b"}" + text("n" * 2**20) + TENSOR + b"q\x00" + b"s",
    }


@pytest.mark.parametrize("bomb", bombs())
def test_bombs_take_neither_memory_nor_the_process(network, tmp_path, bomb):
    file = tmp_path / "bomb.pth"
    torch_writer.write_legacy(file, {"state": Opcodes(bombs()[bomb])})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(network, file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB


# ---- tensors that reach beyond their storage

BEYOND = {
    "offset": View(ONE, 1, (4,), (1,)),
    "size": View(ONE, 0, (5,), (1,)),
    "stride": View(ONE, 0, (4,), (2,)),
    "negative stride": View(ONE, 3, (4,), (-1,)),
    "negative offset": View(ONE, -1, (4,), (1,)),
    "negative size": View(ONE, 0, (-4,), (1,)),
    "product of sizes over 2^64": View(ONE, 0, (2**33, 2**33), (2**33, 1)),
    "stride over 2^63": View(ONE, 0, (2, 2), (2**63, 1)),
    "fewer strides": View(ONE, 0, (2, 2), (1,)),
    "more axes than an array has": View(ONE, 0, (1,) * 40, (1,) * 40),
}


@pytest.mark.parametrize("beyond", BEYOND)
def test_a_tensor_lies_within_its_storage(network, tmp_path, beyond):
    for container in (torch_writer.write_zip, torch_writer.write_legacy):
        container(tmp_path / "beyond.pth", {"conv1.weight": BEYOND[beyond]})
        refused(network, tmp_path / "beyond.pth", "damaged")


def test_a_tensor_of_stride_zero_takes_no_memory_before_its_shape_is_compared(network, tmp_path):
    huge = View(ONE, 0, (2**30, 2**10), (0, 0))
    torch_writer.write_zip(tmp_path / "huge.pth", {**torch_arrays(network), "conv1.weight": huge})
    refused(network, tmp_path / "huge.pth", r"has shape \(1073741824, 1024\).*wants \(64, 3, 7, 7\)")


# ---- zip archives


def test_a_compressed_archive_is_refused(network, tmp_path):
    zeros = np.zeros(10**7, np.float32)
    torch_writer.write_zip(tmp_path / "bomb.pth", {"conv1.weight": zeros}, zipfile.ZIP_DEFLATED)
    refused(network, tmp_path / "bomb.pth", "compressed")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_record_that_occurs_twice_is_refused(network, tmp_path):
    more = [("archive/data/0", b"x" * 16)]
    torch_writer.write_zip(tmp_path / "twice.pth", {"conv1.weight": ONE}, more=more)
    refused(network, tmp_path / "twice.pth", "two records")


def patched_archive(file, field: int, value: bytes, signature: bytes = b"PK\x01\x02"):
    torch_writer.write_zip(file, {"conv1.weight": ONE})
    content = bytearray(file.read_bytes())
    at = content.rindex(signature) + field
    content[at : at + len(value)] = value
    file.write_bytes(content)


PATCHES = {
    "encrypted": (8, b"\x01\x00"),
    "a size beyond the file": (20, struct.pack("<II", 2**31, 2**31)),
    "packed smaller than it is": (24, struct.pack("<I", 2**31)),
    "a place beyond the file": (42, struct.pack("<I", 2**31)),
    "on another record": (42, struct.pack("<I", 0)),
    "another checksum": (16, b"abcd"),
    "a record without a name": (28, b"\x00\x00"),
    "a version to come": (6, b"\xff\x00"),
}


@pytest.mark.parametrize("patch", PATCHES)
def test_an_archives_directory_is_not_believed(network, tmp_path, patch):
    patched_archive(tmp_path / "patched.pth", *PATCHES[patch])
    refused(network, tmp_path / "patched.pth")


def test_a_flipped_bit_in_a_zip_is_found(network, tmp_path):
    file = tmp_path / "flipped.pth"
    torch_writer.write_zip(file, torch_arrays(network))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    refused(network, file, "damaged")


def test_other_archives_are_named(network, tmp_path):
    np.savez(tmp_path / "foreign.npz", a=ONE)
    refused(network, tmp_path / "foreign.npz", "neither a checkpoint of ours.*a.npy")
    torch_writer.write_zip(tmp_path / "script.pt", {"a": ONE}, more=[("archive/constants.pkl", b"x")])
    refused(network, tmp_path / "script.pt", "TorchScript")
    torch_writer.write_zip(tmp_path / "out.pth", {"a": ONE}, more=[("../../data.pkl", b"x")])
    refused(network, tmp_path / "out.pth", "neither")


# ---- damage


@pytest.fixture(scope="module")
def whole(network, tmp_path_factory):
    """A good file of each format."""
    from safetensors.numpy import save_file

    folder, arrays = tmp_path_factory.mktemp("whole"), torch_arrays(network)
    torch_writer.write_zip(folder / "zip.pth", {"state_dict": arrays})
    torch_writer.write_legacy(folder / "legacy.pth", {"state_dict": arrays})
    save_file(arrays, str(folder / "new.safetensors"))
    mx.nd.save(str(folder / "mxnet.params"), {k: mx.nd.array(v) for k, v in arrays.items()})
    checkpoint.save(folder / "own.npz", checkpoint.network_arrays(network[0]), {})
    return folder


FORMATS = ("zip.pth", "legacy.pth", "new.safetensors", "mxnet.params", "own.npz")


@pytest.mark.parametrize("name", FORMATS)
def test_the_whole_file_loads(network, whole, name):
    built = small.build(groups=(), seed=9)
    report = weights.load(built, whole / name)
    after = small.values(built)
    assert len(report.loaded) >= len(torch_arrays(network)) and not report.unused
    assert small.same_bits({k: after[k] for k in report.loaded}, {k: network[1][k] for k in report.loaded})


@pytest.mark.parametrize("kept", [1, 7, 8, 12, 16, 30, 100, 3000, 0.5, 0.99, -9, -1])
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_is_cut_short_is_refused(network, whole, tmp_path, name, kept):
    content = (whole / name).read_bytes()
    length = int(len(content) * kept) if isinstance(kept, float) else kept
    (tmp_path / name).write_bytes(content[:length])
    refused(network, tmp_path / name, error=ConfSegError)


@pytest.mark.parametrize("seed", range(6))
def test_random_bytes_are_refused(network, tmp_path, seed):
    draws, file = np.random.RandomState(seed), tmp_path / "noise"
    starts = (
        b"",
        b"PK\x03\x04",
        b"\x80\x02",
        torch_writer.LEGACY,
        struct.pack("<QQ", 0x112, 0),
        b"\x40" + b"\0" * 7 + b"{",
    )
    file.write_bytes(starts[seed] + draws.bytes(5000))
    refused(network, file)


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth", "new.safetensors", "mxnet.params"])
def test_flipped_bytes_in_the_structure_are_one_error_or_another_value(network, whole, tmp_path, name):
    # bytes of a name or of a value may be anything: all else has to be noticed, and nothing may escape as another error
    content, draws = (whole / name).read_bytes(), np.random.RandomState(4)
    built = small.build(groups=(), seed=9)
    for _ in range(12):
        damaged = bytearray(content)
        at = draws.randint(len(content) if name == "zip.pth" else 3000)
        damaged[at] ^= 1 << draws.randint(8)
        (tmp_path / name).write_bytes(damaged)
        before = small.values(built)
        try:
            weights.load(built, tmp_path / name)
        except WeightsError as error:
            assert str(error).isprintable() and small.same_bits(small.values(built), before)


# ---- MXNet's format, by hand


def params(*arrays, names=None, count=None) -> bytes:
    names = [f"n{i}" for i in range(len(arrays))] if names is None else names
    content = struct.pack("<QQQ", 0x112, 0, len(arrays) if count is None else count) + b"".join(arrays)
    content += struct.pack("<Q", len(names))
    return content + b"".join(struct.pack("<Q", len(n)) + n.encode() for n in names)


def record(
    axes: int, sizes=(), kind: int = 0, values: bytes = b"", magic=0xF993FAC9, storage: int = 0
) -> bytes:
    head = struct.pack("<Ii", magic, storage) if magic != 0xF993FAC8 else struct.pack("<I", magic)
    return head + struct.pack(f"<i{len(sizes)}q", axes, *sizes) + struct.pack("<iii", 1, 0, kind) + values


HOSTILE_PARAMS = {
    "more arrays than bytes": params(count=2**63),
    "an array of exabytes": params(record(2, (2**40, 2**20))),
    "sizes whose product overflows": params(record(4, (2**32, 2**32, 2**32, 2**32))),
    "a negative size": params(record(2, (-1, 4), values=b"0" * 16)),
    "a billion axes": params(record(2**30, (1,))),
    "a negative number of axes": params(record(-5)),
    "a type that is none": params(record(1, (4,), 99, b"0" * 16)),
    "more names than bytes": params(record(1, (4,), 0, b"0" * 16))[:-10] + struct.pack("<Q", 2**62),
    "a name of exabytes": params(record(1, (4,), 0, b"0" * 16), names=[])[:-8] + struct.pack("<QQ", 1, 2**62),
    "fewer names": params(*[record(1, (4,), 0, b"0" * 16)] * 2, names=["a"]),
    "a name twice": params(*[record(1, (4,), 0, b"0" * 16)] * 2, names=["a", "a"]),
    "bytes after its end": params(record(1, (4,), 0, b"0" * 16)) + b"more",
    "a sparse array": params(record(1, (4,), storage=1)),
    "nothing": params(),
}


@pytest.mark.parametrize("case", HOSTILE_PARAMS)
def test_lengths_in_a_params_file_are_not_believed(network, tmp_path, case):
    (tmp_path / "hostile.params").write_bytes(HOSTILE_PARAMS[case])
    refused(network, tmp_path / "hostile.params", "sparse" if "sparse" in case else "")


def test_mxnets_own_sparse_arrays_are_refused(network, tmp_path):
    mx.nd.save(str(tmp_path / "sparse.params"), {"conv1.weight": mx.nd.ones((4, 2)).tostype("csr")})
    refused(network, tmp_path / "sparse.params", "sparse")


# ---- .safetensors, by hand


def tensors(header: dict, values: bytes = b"") -> bytes:
    content = json.dumps(header).encode()
    return struct.pack("<Q", len(content)) + content + values


def entry(shape, offsets, dtype="F32") -> dict:
    return {"conv1.weight": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


HOSTILE_TENSORS = {
    "a header of exabytes": struct.pack("<Q", 2**62) + b"{}",
    "a header beyond the file": struct.pack("<Q", 5000) + b"{}" + b" " * 100,
    "a header that is no JSON": struct.pack("<Q", 8) + b"{nothing",
    "a tensor beyond the file": tensors(entry([4], [0, 16]), b"0" * 8),
    "a shape unlike its bytes": tensors(entry([5], [0, 16]), b"0" * 16),
    "sizes whose product overflows": tensors(entry([2**32, 2**32], [0, 16]), b"0" * 16),
    "a negative size": tensors(entry([-4], [0, 16]), b"0" * 16),
    "a type that is none": tensors(entry([4], [0, 16], "F33"), b"0" * 16),
    "a hole": tensors(entry([4], [8, 24]), b"0" * 24),
    "braces without end": tensors({})[:8] + b"{" * 100,
}


@pytest.mark.parametrize("case", HOSTILE_TENSORS)
def test_a_safetensors_header_is_not_believed(network, tmp_path, case):
    (tmp_path / "hostile.safetensors").write_bytes(HOSTILE_TENSORS[case])
    refused(network, tmp_path / "hostile.safetensors")


# ---- more arrays than any network has


def many_params(file):
    file.write_bytes(params(*[record(1, (1,), 0, b"0000")] * TOO_MANY))


def many_tensors(file):
    places = {f"n{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(TOO_MANY)}
    file.write_bytes(tensors(places))


def many_records(file):
    with zipfile.ZipFile(file, "w") as archive:
        for i in range(TOO_MANY):
            archive.writestr(f"archive/data/{i}", b"")


def many_names(file):
    torch_writer.write_legacy(file, dict.fromkeys((f"n{i}" for i in range(TOO_MANY)), ONE))


TOO_MANY = 10_001


@pytest.mark.parametrize("write", [many_params, many_tensors, many_records, many_names])
def test_too_many_arrays_are_refused_before_they_are_looked_at(network, tmp_path, monkeypatch, write):
    write(tmp_path / "many")
    for reader in (params_file, safetensors_file, torch_file):
        monkeypatch.setattr(reader, "Stored", lambda *_: pytest.fail("looked at an array"))
    monkeypatch.setattr(params_file._Reader, "name", lambda _: pytest.fail("read a name"))
    refused(network, tmp_path / "many", "holds 10001 arrays, more than any network here has; give")


# ---- files of something else


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "is empty"),
        (b"not a parameter file", "no file of weights"),
        (b"configuration: none", "no file of weights"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
        (b"\x89HDF\r\n\x1a\n0000", "HDF5"),
        (b"\x1f\x8b\x08000000", "gzip"),
        (pickle.dumps({"conv1.weight": [1.0, 2.0]}), "not of torch.save's making"),
    ],
)
def test_other_files_are_named_for_what_they_are(network, tmp_path, content, named):
    (tmp_path / "other.pth").write_bytes(content)
    refused(network, tmp_path / "other.pth", named)


def test_a_pickle_of_numpy_arrays_is_named_as_one(network, tmp_path):
    (tmp_path / "zoo.pkl").write_bytes(pickle.dumps({"model": {"conv1.weight": ONE}}, 2))
    refused(network, tmp_path / "zoo.pkl", "is a pickle of NumPy arrays, but not of torch.save's making")


def test_the_parameters_of_an_exported_graph_are_named_as_such(network, tmp_path):
    mx.nd.save(str(tmp_path / "net-0000.params"), {"arg:conv0_weight": mx.nd.ones((4,))})
    refused(network, tmp_path / "net-0000.params", "exported graph.*give the checkpoint that was exported")


def test_paths_that_are_no_file_are_refused(network, tmp_path):
    refused(network, tmp_path / "missing.pth", "No such file")
    refused(network, tmp_path, "is a folder")
    refused(network, "/dev/zero", "no regular file")


def test_files_without_named_tensors_are_refused(network, tmp_path):
    file = tmp_path / "odd.pth"
    for root, named in ((ONE, "one tensor without a name"), ({"epoch": 3}, "no tensors"), (7, "no tensors")):
        torch_writer.write_zip(file, root)
        refused(network, file, named)
    mx.nd.save(str(file), [mx.nd.zeros(3)])
    refused(network, file, "without names")


# ---- files of another network


def test_another_network_is_named_beside_this_one(network, tmp_path):
    arrays = torch_arrays(network)
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        alike = {k: v for k, v in arrays.items() if k.startswith(f"layer{min(stage, 3)}.1.")}
        for block in range(blocks):
            added = {f"layer{stage}.{block}.{k.split('.', 2)[2]}": v for k, v in alike.items()}
            arrays.update({k: v for k, v in added.items() if k not in arrays})
    torch_writer.write_zip(tmp_path / "resnet34.pth", arrays)
    sentence = refused(network, tmp_path / "resnet34.pth", "holds layer1.2.conv1.weight")
    assert "looks like a ResNet-34, this network's encoder is a ResNet-18" in sentence


def test_a_wrong_shape_is_named_with_both(network, tmp_path):
    wide = {**torch_arrays(network), "layer2.0.bn1.bias": np.ones(7, np.float32)}
    torch_writer.write_legacy(tmp_path / "wide.pth", {"model": wide})
    message = (
        r"encoder.layer2.0.bn1.beta has shape \(7,\), this network wants \(128,\) \(model.layer2.0.bn1.bias"
    )
    refused(network, tmp_path / "wide.pth", message)


def test_part_of_an_encoder_is_refused_with_what_is_missing(network, tmp_path):
    arrays = torch_arrays(network)
    some = {k: arrays[k] for k in list(arrays)[:3]}
    torch_writer.write_zip(tmp_path / "some.pth", some)
    refused(
        network,
        tmp_path / "some.pth",
        "holds 3 of the 75 parameters of this network's encoder, and lacks encoder",
    )
    arrays.pop("layer3.1.bn2.running_var")
    torch_writer.write_zip(tmp_path / "less.pth", arrays)
    refused(network, tmp_path / "less.pth", "lacks encoder.layer3.1.bn2.running_var;")


@pytest.mark.parametrize("extra", ["conv1.bias", "layer1.0.se.fc1.weight", "layer3.2.conv1.weight"])
def test_a_layer_that_the_network_lacks_within_a_stage_is_refused(network, tmp_path, extra):
    torch_writer.write_zip(tmp_path / "more.pth", {**torch_arrays(network), extra: ONE})
    refused(network, tmp_path / "more.pth", f"holds {extra}, for which")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_a_value_that_is_not_finite_is_refused_by_name(network, tmp_path, value):
    arrays = torch_arrays(network)
    arrays["bn1.running_var"] = np.full(64, value)
    torch_writer.write_zip(tmp_path / "diverged.pth", arrays)
    refused(network, tmp_path / "diverged.pth", "bn1.running_var holds values that are not finite")


def test_whole_numbers_are_no_weights(network, tmp_path):
    arrays = {**torch_arrays(network), "bn1.bias": np.ones(64, np.int64)}
    torch_writer.write_zip(tmp_path / "quantised.pth", arrays)
    refused(network, tmp_path / "quantised.pth", "bn1.bias holds numbers of type <i8")


def test_one_parameter_under_two_names_is_refused(network, tmp_path):
    arrays = {**torch_arrays(network), "bn1.gamma": np.ones(64, np.float32)}
    torch_writer.write_zip(tmp_path / "twice.pth", arrays)
    refused(network, tmp_path / "twice.pth", "are both encoder.bn1.gamma")


def test_a_checkpoint_of_ours_that_unpacks_to_more_than_its_file_is_refused(network, tmp_path):
    content = io.BytesIO()
    np.savez_compressed(content, **{"meta.json": np.zeros(10**7, np.uint8)})
    (tmp_path / "bomb.npz").write_bytes(checkpoint._sealed(content.getvalue()))
    refused(network, tmp_path / "bomb.npz", "compressed", ConfSegError)
