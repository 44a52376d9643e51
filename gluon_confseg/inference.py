"""How a network is applied to an image in evaluation: once to the whole image, or to several views of it.

Views are the mirrored image, other scales, and windows. Their probabilities are averaged, and a dense CRF may then
refine the result by the image's colours. All resizing has half-pixel centres, as in OpenCV.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator

import cv2
import mxnet as mx
import numpy as np

from . import crf
from .crf import DenseCRF
from .datasets.colour import denormalize
from .errors import RunError
from .frozen import FrozenNetwork
from .grids import enlarge


@dataclasses.dataclass(frozen=True)
class Inference:
    """The views of an image that are averaged; the default is one: the whole image at its own size.

    scales     factors of the image's size, each once
    flip       average with the mirrored image, whose probabilities are mirrored back
    window     (height, width) in pixels of the scaled image, slid over it; None: the whole image
    overlap    share of a window that the next one covers again, from 0 to below 1; the last window ends at the border
    bicubic    enlarge probabilities bicubically, as ResNet-38's authors do, instead of log-scores bilinearly; some
               may then lie slightly outside of 0 to 1
    crf        settings of a dense CRF that refines the average by the image's colours, on the CPU; it needs a further
               package (see `check`)
    Raises RunError for settings that can't be used.
    """

    scales: tuple = (1.0,)
    flip: bool = False
    window: tuple | None = None
    overlap: float = 1 / 3
    bicubic: bool = False
    crf: DenseCRF | None = None

    def __post_init__(self):
        object.__setattr__(self, "scales", tuple(float(scale) for scale in self.scales))
        if self.window is not None:
            object.__setattr__(self, "window", tuple(int(pixels) for pixels in self.window))
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise RunError(f"scales {self.scales} can't be used: give one or more numbers above 0")
        if len(set(self.scales)) < len(self.scales):
            raise RunError(
                f"scales {self.scales} hold one twice, which would only count it double: leave it out"
            )
        if self.window is not None and (len(self.window) != 2 or min(self.window) < 1):
            raise RunError(f"window {self.window} can't be used: give its height and width in pixels")
        if not 0 <= self.overlap < 1:
            raise RunError(f"an overlap of {self.overlap} can't be used: give a share from 0 to below 1")

    def check(self) -> None:
        """Raises RunError where a library that this needs is not installed; call it before the work starts."""
        if self.crf is not None:
            crf.library()

    @property
    def is_plain(self) -> bool:
        """Whether there is one view, the whole image, as in an exported graph."""
        return self.scales == (1.0,) and not (self.flip or self.window or self.bicubic or self.crf)

    def describe(self) -> str:
        """The settings in words, such as "whole images at their own size, one scale"."""
        if self.window:
            parts = ["windows of {} x {} pixels".format(*self.window[::-1])]
        else:
            parts = ["whole images at their own size" if self.scales == (1.0,) else "whole images"]
        scales = ", ".join(f"{scale:g}" for scale in self.scales)
        several = len(self.scales) > 1
        parts.append("one scale" if self.scales == (1.0,) else f"{'scales' if several else 'scale'} {scales}")
        parts += ["averaged with their mirror images"] * self.flip + ["enlarged bicubically"] * self.bicubic
        parts += ["refined by a dense CRF"] * bool(self.crf)
        return ", ".join(parts)


PLAIN = Inference()

# test-time augmentation by name; the paper names no scales, these are a usual set
TTA = {
    "flip": Inference(flip=True),
    "flip-bicubic": Inference(flip=True, bicubic=True),  # ResNet-38's authors
    "multi-scale": Inference(scales=(0.5, 0.75, 1.0, 1.25, 1.5), flip=True),
    "window": Inference(window=(512, 1024)),
    "crf": Inference(crf=DenseCRF()),
}


def log_probabilities(network, fusions: dict, images) -> dict:
    """images (N, 3, H, W) -> {rule: (N, K, h, w) on the finest grid of the subnets that it fuses}.

    Subnets run only if a rule needs them.

    network    a `SubnetNetwork`, which is frozen for this call, or a `FrozenNetwork` with these fusions
    """
    found = FrozenNetwork.of(network, fusions).log_probabilities(images)
    return {rule: found[rule] for rule in fusions}


def probabilities(network, fusions: dict, images, inference: Inference = PLAIN) -> dict:
    """images (N, 3, H, W), normalised, on the network's device -> {rule: (N, K, H, W) float32}, mean over the views.

    fusions    {rule: `fusion.Fusion`}
    If set, a dense CRF then refines each image's mean by its 8-bit colours. These are computed from the normalised
    image with the network's mean and deviation, and after rounding they are exact.
    network    as in `log_probabilities`
    Memory: besides one view's arrays one sum per rule, and another at a scale other than 1.
    """
    network, totals = FrozenNetwork.of(network, fusions), _zeros(network, fusions, images)
    for scale in inference.scales:
        scaled = _scaled(images, scale)
        if scaled.shape == images.shape:
            _add_views(network, fusions, scaled, inference, totals)
            continue
        sums = _zeros(network, fusions, scaled)
        _add_views(network, fusions, scaled, inference, sums)
        height, width = images.shape[2:]
        for rule, total in totals.items():  # plane by plane
            planes = sums.pop(rule).reshape(-1, *scaled.shape[2:])
            for target, plane in zip(total.reshape(-1, height, width), planes):
                target += cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
    if inference.crf is not None:
        for n, image in enumerate(images.asnumpy()):
            picture = denormalize(image, **network.normalisation)
            for total in totals.values():
                # bicubic enlarging can give values slightly below 0
                total[n] = crf.refine(np.maximum(total[n], 0), picture, inference.crf)
    return totals


def starts(length: int, window: int, overlap: float) -> list:
    """Where windows of `window` pixels begin on `length` pixels; the last one ends with the last pixel."""
    if length <= window:
        return [0]
    step = max(1, math.floor(window * (1 - overlap)))
    return [*range(0, length - window, step), length - window]


def _zeros(network, fusions: dict, images) -> dict:
    shape = (images.shape[0], network.num_classes, *images.shape[2:])
    return {rule: np.zeros(shape, np.float32) for rule in fusions}


def _scaled(images, scale: float):
    height, width = (max(1, round(length * scale)) for length in images.shape[2:])
    if (height, width) == images.shape[2:]:
        return images
    pictures = images.asnumpy().transpose(0, 2, 3, 1)
    resized = [cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR) for picture in pictures]
    return mx.nd.array(np.stack(resized).transpose(0, 3, 1, 2), ctx=images.context)


def _add_views(network, fusions: dict, images, inference: Inference, sums: dict) -> None:
    """Add the mean over windows and mirror images at one scale, times that scale's share of the whole mean."""
    share = 1 / (len(inference.scales) * (1 + inference.flip))
    sides = [
        _intervals(length, window, inference.overlap)
        for length, window in zip(images.shape[2:], inference.window or images.shape[2:])
    ]
    for (rows, over_rows), (columns, over_columns) in itertools.product(*sides):
        weight = np.float32(share) / np.outer(over_rows, over_columns)
        height, width = weight.shape
        view = images[:, :, rows, columns]
        if inference.window and (height, width) != inference.window:
            # filled up below and on the right with the mean colour, 0 after normalisation
            missing = inference.window[0] - height, inference.window[1] - width
            view = mx.nd.pad(view, mode="constant", pad_width=(0, 0, 0, 0, 0, missing[0], 0, missing[1]))
        for mirrored in (False, True)[: 1 + inference.flip]:
            seen = mx.nd.flip(view, axis=3) if mirrored else view
            for rule, scores in _one_view(network, fusions, seen, inference.bicubic):
                scores = scores[:, :, :, ::-1] if mirrored else scores
                scores = scores[:, :, :height, :width]
                scores *= weight
                sums[rule][:, :, rows, columns] += scores


def _intervals(length: int, window: int, overlap: float) -> list:
    """(slice, how many slices cover each of its pixels) along one axis."""
    slices = [slice(start, min(start + window, length)) for start in starts(length, window, overlap)]
    covered = np.zeros(length, np.float32)
    for part in slices:
        covered[part] += 1
    return [(part, covered[part]) for part in slices]


def _one_view(network, fusions: dict, images, bicubic: bool) -> Iterator[tuple]:
    """(rule, (N, K, H, W) float32 probabilities that the caller may write to) of each rule."""
    height, width = images.shape[2:]
    for rule, scores in log_probabilities(network, fusions, images).items():
        stride = network.encoder.output_stride // fusions[rule].finer
        if not bicubic:
            yield rule, mx.nd.softmax(enlarge(mx.nd, scores, stride, images), axis=1).asnumpy()
            continue
        grid = mx.nd.softmax(scores, axis=1).asnumpy()
        large, size = np.empty((*grid.shape[:2], height, width), np.float32), grid.shape[2:]
        for source, target in zip(grid.reshape(-1, *size), large.reshape(-1, height, width)):
            whole = cv2.resize(source, (size[1] * stride, size[0] * stride), interpolation=cv2.INTER_CUBIC)
            target[:] = whole[:height, :width]
        yield rule, large
