"""Modules that stand before a head: wider sight on the same grid, for heads that were not made for it."""

from __future__ import annotations

from mxnet.gluon import nn

from .aspp import AsppV3, published_rates
from .gcn import GCN
from .settings import HeadSettings


def build_context(settings: HeadSettings, width: int, output_stride: int) -> tuple:
    """The module of `settings.context` for `width` channels, and how many channels it gives.

    (N, width, h, w) -> (N, settings.channels, h, w); without a context nothing happens and width stays.
    """
    if settings.context is None:
        return nn.HybridSequential(), width
    if settings.context == "aspp":
        rates = settings.rates or published_rates("aspp_v3", output_stride)
        return AsppV3(width, settings.channels, rates), settings.channels
    return GCN(width, settings.channels, settings.kernel, scores=False), settings.channels
