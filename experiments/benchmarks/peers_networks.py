"""PyTorch's sides that run networks, eagerly: training steps and inference. Runs in .venv-bench, without this package.

The networks have the shapes of ours and are written with torch.nn (`step` and `predict` state their multiply-adds and
parameters, and the two must be equal). What differs: values are drawn by PyTorch, the loss is plain cross-entropy, and
EfficientNet-Lite0 pads evenly and not as TensorFlow does.
"""

from __future__ import annotations

import math
import os

import draws
import numpy as np
import torch
from side import Work, serve
from torch import nn
from torch.nn import functional as F

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}
OUTPUT_STRIDE = 8


class Dilation:
    """Deals out strides until the output stride is reached, and dilations from then on."""

    def __init__(self, reached: int):
        self.reached, self.dilation = reached, 1

    def next(self, stride: int) -> tuple:
        """(stride, dilation) of a block that would have this stride, and the dilation of what follows in it."""
        if stride == 1 or self.reached * stride <= OUTPUT_STRIDE:
            self.reached *= stride
            return stride, self.dilation, self.dilation
        own, self.dilation = self.dilation, self.dilation * stride
        return 1, own, self.dilation


def conv_norm(
    width: int, channels: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1, **norm
):
    """Convolution without bias that keeps the size but for its stride, and batch norm."""
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(width, channels, kernel, stride, padding, dilation, groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels, **norm))


class Residual(nn.Module):
    """A ResNet's block: two 3x3 convolutions, or with `bottleneck` 1x1, 3x3, 1x1, and the input added."""

    def __init__(self, width: int, inner: int, stride: int, first: int, second: int, bottleneck: bool):
        super().__init__()
        channels = inner * (4 if bottleneck else 1)
        if bottleneck:
            parts = [
                conv_norm(width, inner, 1),
                nn.ReLU(inplace=True),
                conv_norm(inner, inner, 3, stride, first),
                nn.ReLU(inplace=True),
                conv_norm(inner, channels, 1),
            ]
        else:
            parts = [
                conv_norm(width, inner, 3, stride, first),
                nn.ReLU(inplace=True),
                conv_norm(inner, channels, 3, 1, second),
            ]
        self.body, self.relu = nn.Sequential(*parts), nn.ReLU(inplace=True)
        self.shortcut = (
            conv_norm(width, channels, 1, stride) if stride > 1 or width != channels else nn.Identity()
        )

    def forward(self, x):
        return self.relu(self.body(x) + self.shortcut(x))


def resnet(name: str) -> tuple:
    """(encoder at output stride 8, its channels)."""
    bottleneck, layers = name == "resnet50", []
    layers += [conv_norm(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    width, dilation = 64, Dilation(4)
    for stage, depth in enumerate(DEPTHS[name]):
        inner = 64 * 2**stage
        for number in range(depth):
            stride, first, second = dilation.next(2 if stage and not number else 1)
            layers.append(Residual(width, inner, stride, first, second, bottleneck))
            width = inner * (4 if bottleneck else 1)
    return nn.Sequential(*layers), width


LITE_NORM = {"eps": 1e-3, "momentum": 0.01}
# (kernel, stride, expansion, channels, blocks) up to the end of stage 3
LITE_BLOCKS = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3))


class Inverted(nn.Module):
    """EfficientNet-Lite's block: 1x1 expansion, depthwise convolution, 1x1 projection, and the input added."""

    def __init__(self, width: int, channels: int, kernel: int, stride: int, dilation: int, expansion: int):
        super().__init__()
        inner, parts = width * expansion, []
        if expansion > 1:
            parts += [conv_norm(width, inner, 1, **LITE_NORM), nn.ReLU6(inplace=True)]
        parts += [
            conv_norm(inner, inner, kernel, stride, dilation, inner, **LITE_NORM),
            nn.ReLU6(inplace=True),
        ]
        self.body = nn.Sequential(*parts, conv_norm(inner, channels, 1, **LITE_NORM))
        self.adds = stride == 1 and width == channels

    def forward(self, x):
        return x + self.body(x) if self.adds else self.body(x)


def lite0() -> tuple:
    """(the first eleven blocks of EfficientNet-Lite0 at output stride 8, their channels)."""
    layers, width, dilation = [conv_norm(3, 32, 3, 2, **LITE_NORM), nn.ReLU6(inplace=True)], 32, Dilation(2)
    for kernel, stride, expansion, channels, blocks in LITE_BLOCKS:
        for number in range(blocks):
            own, dilated, _ = dilation.next(1 if number else stride)
            layers.append(Inverted(width, channels, kernel, own, dilated, expansion))
            width = channels
    return nn.Sequential(*layers), width


class Segmentation(nn.Module):
    """Encoder, subnet 0's head, and logits enlarged bilinearly to the image's size, or with `classes` their largest."""

    def __init__(self, encoder: str, num_classes: int):
        super().__init__()
        self.encoder, width = lite0() if encoder == "efficientnet_lite0" else resnet(encoder)
        inner, dilation = (128, 4) if encoder == "efficientnet_lite0" else (512, 12)
        self.head = nn.Sequential(
            nn.Conv2d(width, inner, 3, padding=dilation, dilation=dilation),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, num_classes, 3, padding=dilation, dilation=dilation),
        )
        self.classes = False

    def forward(self, images):
        logits = self.head(self.encoder(images))
        large = F.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=False)
        return large.argmax(1).to(torch.uint8) if self.classes else large


def build(encoder: str, layout: str, num_classes: int) -> Segmentation:
    """The network in a memory layout."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    return Segmentation(encoder, num_classes).to(memory_format=FORMATS[layout])


def step(encoder: str, shape, layout: str = "contiguous", num_classes: int = 19) -> Work:
    """A training step by cross-entropy and SGD with momentum, its loss read."""
    model = build(encoder, layout, num_classes).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0.0005)
    images = torch.from_numpy(draws.images(shape))
    labels = draws.labels((shape[0], *shape[2:]), num_classes, 0.08)

    def run() -> float:
        large = model(images.contiguous(memory_format=FORMATS[layout]))
        loss = F.cross_entropy(large, torch.from_numpy(labels).long(), ignore_index=draws.IGNORED)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()

    return Work(run, **_work_of(encoder, shape, num_classes))


def predict(encoder: str, shape, layout: str = "contiguous", num_classes: int = 19) -> Work:
    """Images to classes."""
    model = build(encoder, layout, num_classes).eval()
    model.classes = True
    images = draws.images(shape)

    def run() -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(images).contiguous(memory_format=FORMATS[layout])).numpy()

    return Work(run, **_work_of(encoder, shape, num_classes))


def export(encoder: str, shape, file: str, num_classes: int = 19) -> Work:
    """Write the network that `predict` runs as an ONNX file, for peers_onnx."""
    model = build(encoder, "contiguous", num_classes).eval()
    model.classes = True
    torch.onnx.export(model, torch.zeros(tuple(shape)), file, input_names=["images"], dynamo=False)
    return Work(lambda: None, **_work_of(encoder, shape, num_classes))


def _work_of(encoder: str, shape, num_classes: int) -> dict:
    """Multiply-adds of the convolutions and numbers of parameters, by shapes alone."""
    counted = []
    with torch.device("meta"):
        model = Segmentation(encoder, num_classes).eval()
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(
                    lambda layer, _, out: counted.append(out.numel() * math.prod(layer.weight.shape[1:]))
                )
        model(torch.empty(tuple(shape)))
    return {"multiply_adds": sum(counted), "parameters": sum(value.numel() for value in model.parameters())}


WORKS = {"step": step, "predict": predict, "export": export}

if __name__ == "__main__":
    serve(WORKS, lambda: {"torch": torch.__version__})
