"""Loading weights: the file's content tells what it is; all of it fits, or nothing changes."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest
import small
from gluoncv.model_zoo import resnetv1b

from gluon_confseg import checkpoint, weights
from gluon_confseg.errors import CheckpointError, ConfSegError, WeightsError


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


def test_gluoncvs_file_fills_the_encoder_and_leaves_the_heads(zoo):
    file, arrays = zoo
    built = small.build()
    before = small.values(built)
    report = weights.load(built, str(file))
    after = small.values(built)
    encoder = [k for k in after if k.startswith("encoder.")]
    for name in encoder:
        np.testing.assert_array_equal(after[name], arrays[name[len("encoder.") :]])
    assert report.loaded == sorted(encoder)
    assert report.left == sorted(k for k in after if not k.startswith("encoder."))
    assert small.same_bits({k: after[k] for k in report.left}, {k: before[k] for k in report.left})
    assert {"encoder.fc.weight", "encoder.fc.bias"} <= set(report.unused)
    assert str(len(encoder)) in str(report) and str(len(report.left)) in str(report)


def test_our_own_checkpoint_fills_the_whole_network(tmp_path):
    built, other = small.shaken(seed=1), small.build(seed=2)
    arrays = {**checkpoint.network_arrays(built), "momentum:encoder.conv1.weight": np.ones(3)}
    checkpoint.save(tmp_path / "any name", arrays, {})
    report = weights.load(other, tmp_path / "any name")
    assert not report.left and not report.unused
    assert small.same_bits(small.values(other), small.values(built))


def test_a_checkpoint_with_other_groups_fills_what_it_can(tmp_path):
    built, other = small.shaken(groups=(), seed=1), small.build(seed=2)
    checkpoint.save(tmp_path / "base.npz", checkpoint.network_arrays(built), {})
    report = weights.load(other, tmp_path / "base.npz")
    assert set(report.loaded) == set(small.values(built))
    assert all(name.startswith("subnets.") for name in report.left)


def test_a_shape_that_does_not_fit_is_named_and_changes_nothing(tmp_path):
    built, other = small.shaken(groups=((0, 1, 2),)), small.build(groups=((0, 1),))
    checkpoint.save(tmp_path / "wide.npz", checkpoint.network_arrays(built), {})
    before = small.values(other)
    with pytest.raises(WeightsError, match="wide.npz: subnets.0.output.* has shape .* wants"):
        weights.load(other, tmp_path / "wide.npz")
    assert small.same_bits(small.values(other), before)


def test_files_that_hold_nothing_of_the_network_are_refused(tmp_path):
    built = small.build()
    mx.nd.save(str(tmp_path / "other.params"), {"dense0_weight": mx.nd.zeros(3)})
    mx.nd.save(str(tmp_path / "list.params"), [mx.nd.zeros(3)])
    (tmp_path / "text.params").write_text("not a parameter file")
    (tmp_path / "empty.params").write_bytes(b"")
    for name, named in (
        ("other.params", "nothing of this network.*dense0_weight"),
        ("list.params", "without names"),
        ("text.params", "neither"),
        ("empty.params", "neither"),
        ("missing.params", "missing.params"),
    ):
        with pytest.raises(WeightsError, match=named) as caught:
            weights.load(built, tmp_path / name)
        assert "\n" not in str(caught.value) and name in str(caught.value)


def test_damage_is_an_error_and_changes_nothing(tmp_path, zoo):
    built = small.build()
    checkpoint.save(tmp_path / "own.npz", checkpoint.network_arrays(built), {})
    before, content = small.values(built), (tmp_path / "own.npz").read_bytes()
    (tmp_path / "flipped.npz").write_bytes(content[:9999] + bytes([content[9999] ^ 4]) + content[10000:])
    with pytest.raises(CheckpointError, match="flipped.npz: is damaged"):
        weights.load(built, tmp_path / "flipped.npz")
    cut = {"cut.npz": content[:-1000], "cut.params": zoo[0].read_bytes()[:-1000]}
    for name, part in cut.items():
        (tmp_path / name).write_bytes(part)
        with pytest.raises(ConfSegError, match=name):
            weights.load(built, tmp_path / name)
    assert small.same_bits(small.values(built), before)
