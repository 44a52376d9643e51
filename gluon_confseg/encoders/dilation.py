"""Reduces the output stride by dilation, for networks whose stages begin with a strided convolution: Section 4.1."""

from __future__ import annotations

from mxnet.gluon import nn

STRIDES = (4, 8, 16, 32)  # of stages 1 to 4 in the networks that were trained on ImageNet


def strides(output_stride: int, last_stage: int = 4) -> tuple:
    """Strides of the features of stages 1 to `last_stage`."""
    return tuple(min(stride, output_stride) for stride in STRIDES[:last_stage])


def dilate(stages, output_stride: int, reached=STRIDES) -> None:
    """Turn the strides beyond `output_stride` into dilations, in place; parameters stay as they are.

    stages   HybridBlocks in their order, each with its children registered in the order in which they run
    reached  the stride of each stage's features without dilation
    Call it before the hybridized blocks run: a traced graph keeps its strides.
    """
    dilation = 1
    for stage, stride in zip(stages, reached):
        if stride > output_stride:
            dilation = _dilate_stage(stage, dilation)


def _dilate_stage(stage, met: int) -> int:
    """Set the stride of a stage's strided convolutions to 1, and double the dilation of the convolutions after them.

    The strided ones get the dilation `met`, that of the stage before. Returns the dilation for the next stage.
    """
    reach = met
    for convolution in _convolutions(stage):
        settings = convolution._kwargs  # the operator's settings; Gluon has no setter
        dilation = reach
        if max(settings["stride"]) > 1:
            dilation, reach = met, 2 * met
            settings["stride"] = (1, 1)
        if max(settings["kernel"]) > 1:
            settings["dilate"] = (dilation, dilation)
            settings["pad"] = tuple(dilation * (kernel // 2) for kernel in settings["kernel"])
    return reach


def _convolutions(block):
    for child in block._children.values():
        if isinstance(child, nn.Conv2D):
            yield child
        else:
            yield from _convolutions(child)
