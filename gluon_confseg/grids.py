"""Brings logits and features from a coarse grid to a finer one, in training, evaluation and export alike."""

from __future__ import annotations


def enlarge_with_gradient(F, logits, times: int, like):
    """As `enlarge`, up to rounding, by an even number, for what gets a gradient inside a graph.

    On a CPU the backward of the operator in `enlarge` adds the threads' results in varying order, and so rounds
    differently in every run. That of these does not: each pixel is repeated, and pixels are averaged with their
    neighbours twice. The two averages together weigh the pixels as bilinear enlarging does.
    (`network.enlarge_in_training`, for many pixels, is faster, but holds a constant, which an exported graph can't.)
    """
    large = F.UpSampling(logits, scale=times, sample_type="nearest")
    large = F.pad(large, mode="edge", pad_width=(0, 0, 0, 0, *[times // 2] * 4))
    for side in (times, 2):
        large = F.Pooling(large, kernel=(side, side), stride=(1, 1), pool_type="avg")
    return F.slice_like(large, like, axes=(2, 3))


def enlarge(F, logits, stride: int, like):
    """Enlarge bilinearly by the output stride, and cut to the size of `like`: (N, C, h, w) -> (N, C, H, W).

    align_corners=False is OpenCV's geometry, and not the operator's default. Training, evaluation and export share it.
    A fixed factor and a cut need no size in the graph, so images of any size run.
    """
    large = F.contrib.BilinearResize2D(logits, scale_height=stride, scale_width=stride, align_corners=False)
    return F.slice_like(large, like, axes=(2, 3))
