"""Checkpoints that PyTorch itself wrote give the features of PyTorch's own network."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest

from gluon_confseg import encoders, weights

torch = pytest.importorskip("torch", reason="PyTorch comes with `make test-torch`")

pytestmark = pytest.mark.torch

SIZES = ((64, 96), (61, 83))
TORCHVISION = ("resnet18", "resnet50", "resnet101")
TIMM = {"resnext101_32x4d": "resnext101_32x4d", "efficientnet_lite0": "tf_efficientnet_lite0"}


def shaken(network, seed: int = 0):
    """Random weights, of which activations neither grow nor fade, and random batch-norm statistics; evaluating."""
    generator = torch.Generator().manual_seed(seed)

    def draw(like, low, high):
        return torch.rand(like.shape, generator=generator) * (high - low) + low

    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data = draw(module.weight, 0.3, 0.8)
            module.bias.data = draw(module.bias, -0.3, 0.3)
            module.running_mean.copy_(draw(module.running_mean, -0.3, 0.3))
            module.running_var.copy_(draw(module.running_var, 0.5, 1.5))
    return network.eval()


def images(size):
    return np.random.RandomState(5).normal(size=(1, 3, *size)).astype(np.float32)


def torchvision_network(name: str, stride: int):
    """torchvision's, and a function images -> the four stages' features."""
    models = pytest.importorskip("torchvision.models")
    whole = shaken(getattr(models, name)(**dilations(name, stride)))
    return whole, lambda x: resnet_stages(whole, x)


def dilations(name: str, stride: int) -> dict:
    if stride == 32 or name == "resnet18":
        return {}
    return {"replace_stride_with_dilation": [False, True, True]}


def resnet_stages(whole, x) -> list:
    x, found = whole.maxpool(whole.relu(whole.bn1(whole.conv1(x)))), []
    for stage in (whole.layer1, whole.layer2, whole.layer3, whole.layer4):
        x = stage(x)
        found.append(x)
    return found


def timm_network(name: str, stride: int):
    """timm's classifier for its checkpoint, and its features with the same values at a stride."""
    timm = pytest.importorskip("timm")
    whole = shaken(timm.create_model(TIMM[name]))
    staged = timm.create_model(TIMM[name], features_only=True, output_stride=stride, out_indices=(1, 2, 3, 4))
    staged.load_state_dict(whole.state_dict(), strict=False)
    return whole, staged.eval()


def save(whole, form: str, file) -> None:
    if form == "safetensors":
        from safetensors.torch import save_file

        return save_file(whole.state_dict(), str(file))
    half = {k: v.half() if v.is_floating_point() else v for k, v in whole.state_dict().items()}
    root = {"zip": whole.state_dict(), "legacy": {"model": whole.state_dict(), "epoch": 3}, "half": half}[
        form
    ]
    torch.save(root, file, _use_new_zipfile_serialization=form != "legacy")
    if form == "half":
        whole.load_state_dict(half)


def assert_same_features(encoder, stages) -> None:
    for size in SIZES:
        ours = encoder(mx.nd.array(images(size)))
        with torch.no_grad():
            theirs = stages(torch.tensor(images(size)))
        assert len(ours) == len(theirs) == 4
        for mine, other in zip(ours, theirs):
            other = other.numpy()
            assert mine.shape == other.shape and other.std() > 1e-3
            assert np.abs(mine.asnumpy() - other).max() <= 1e-3 * np.abs(other).max()


def loads_whole(encoder, file, in_vain: int) -> None:
    report = weights.load(encoder, file)
    assert not report.left and len(report.unused) == in_vain


@pytest.mark.parametrize("form", ["zip", "legacy", "half", "safetensors"])
@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_checkpoints_give_its_features(tmp_path, name, form):
    strides = (8, 32) if form == "zip" and name != "resnet18" else (32,)
    for stride in strides:
        whole, stages = torchvision_network(name, stride)
        save(whole, form, tmp_path / "a file")
        encoder = encoders.build(name, stride)
        loads_whole(encoder, tmp_path / "a file", in_vain=2)
        assert_same_features(encoder, stages)


@pytest.mark.parametrize("form", ["zip", "legacy", "half", "safetensors"])
@pytest.mark.parametrize("name", TIMM)
def test_timms_checkpoints_give_its_features(tmp_path, name, form):
    in_vain = 7 if name == "efficientnet_lite0" else 2
    for stride in (8, 32) if form == "zip" else (32,):
        whole, stages = timm_network(name, stride)
        save(whole, form, tmp_path / "a file")
        if form == "half":
            stages.load_state_dict(whole.state_dict(), strict=False)
        encoder = encoders.build(name, stride)
        loads_whole(encoder, tmp_path / "a file", in_vain)
        assert_same_features(encoder, stages)


def test_resnet18_at_output_stride_8_samples_as_densely_as_torchvisions_does_sparsely(tmp_path):
    # torchvision dilates no ResNet-18; a dilated network's features at every fourth place are the strided one's
    whole, stages = torchvision_network("resnet18", 32)
    torch.save(whole.state_dict(), tmp_path / "a.pth")
    encoder = encoders.build("resnet18", 8)
    loads_whole(encoder, tmp_path / "a.pth", in_vain=2)
    dense = encoder(mx.nd.array(images((64, 96))))
    with torch.no_grad():
        sparse = [stage.numpy() for stage in stages(torch.tensor(images((64, 96))))]
    for fine, coarse in zip(dense, sparse):
        step = fine.shape[2] // coarse.shape[2]
        there = fine.asnumpy()[:, :, ::step, ::step]
        assert np.abs(there - coarse).max() <= 1e-3 * np.abs(coarse).max()


@pytest.mark.parametrize("legacy", [False, True])
def test_every_type_and_view_that_pytorch_saves_is_read_as_pytorch_reads_it(tmp_path, legacy):
    from gluon_confseg.weights import formats

    base = torch.arange(24, dtype=torch.float32)
    tensors = {
        "transposed": base.reshape(4, 6).t(),
        "tail": base[7:],
        "steps": base[::5],
        "expanded": base[3:4].expand(2, 3),
        "parameter": torch.nn.Parameter(base.reshape(2, 12)),
        "empty": torch.zeros(0, 3),
        "number": torch.tensor(5.0),
        **{
            str(kind): base.to(kind)
            for kind in (torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool)
        },
        "bfloat16": (base * 1.7).bfloat16(),
    }
    torch.save(tensors, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    read = formats.read(tmp_path / "a.pth")
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
        wanted = tensor.detach().float().numpy() if name == "bfloat16" else tensor.detach().numpy()
        found = read[name].read()
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


def test_a_training_scripts_checkpoint_is_read_and_its_optimizer_left_out(tmp_path):
    models = pytest.importorskip("torchvision.models")
    whole = models.resnet18()
    optimizer = torch.optim.Adam(whole.parameters())
    whole(torch.zeros(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 6])
    parts = {"model": whole, "optimizer": optimizer, "lr_scheduler": schedule}
    torch.save({name: part.state_dict() for name, part in parts.items()}, tmp_path / "a.pth")
    loads_whole(encoders.build("resnet18", 32), tmp_path / "a.pth", in_vain=2)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_whole_network_beside_its_average_gives_the_averages_features(tmp_path, legacy):
    whole, stages = torchvision_network("resnet18", 32)
    average = torch.optim.swa_utils.AveragedModel(whole).state_dict()
    other = pytest.importorskip("torchvision.models").resnet18()
    parts = {"average": average, "net": other, "loss": [torch.nn.MSELoss()]}
    parts["quantised"] = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8)
    torch.save(parts, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    encoder = encoders.build("resnet18", 32)
    report = weights.load(encoder, tmp_path / "a.pth")
    assert report.prefix == "average.module" and report.copies == ("net",)
    assert_same_features(encoder, stages)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickled_module_is_refused_by_name(tmp_path, legacy):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1))
    torch.save(module, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(weights.WeightsError, match="torch.nn.modules.container.Sequential"):
        weights.load(encoders.build("resnet18", 32), tmp_path / "a.pth")


def test_a_torchscript_program_is_refused(tmp_path):
    torch.jit.script(torch.nn.Conv2d(3, 4, 1)).save(str(tmp_path / "a.pt"))
    with pytest.raises(weights.WeightsError, match="TorchScript"):
        weights.load(encoders.build("resnet18", 32), tmp_path / "a.pt")
