"""Brings logits and features from a coarse grid to a finer one, in training, evaluation and export alike."""

from __future__ import annotations


def enlarge(F, logits, stride: int, like):
    """Enlarge bilinearly by the output stride, and cut to the size of `like`: (N, C, h, w) -> (N, C, H, W).

    align_corners=False is OpenCV's geometry, and not the operator's default. Training, evaluation and export share it.
    A fixed factor and a cut need no size in the graph, so images of any size run.
    """
    large = F.contrib.BilinearResize2D(logits, scale_height=stride, scale_width=stride, align_corners=False)
    return F.slice_like(large, like, axes=(2, 3))
