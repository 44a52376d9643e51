"""The heads of subnets: Section 3, Fig. 4, and those of Table 2. Its settings say which stages a head reads."""

from __future__ import annotations

from .aspp import AsppV2, AsppV3
from .gcn import GCN, BoundaryRefinement, GlobalConvolution
from .heads import DeepLabV2Head, DeepLabV3Head, GCNHead, PlainHead, ResidualHead
from .layers import Gather
from .settings import CONTEXTS, DETAILS, KINDS, PLAIN, RESIDUAL, STRIDES, HeadSettings

__all__ = [
    "CONTEXTS",
    "DETAILS",
    "GCN",
    "KINDS",
    "PLAIN",
    "RESIDUAL",
    "STRIDES",
    "AsppV2",
    "AsppV3",
    "BoundaryRefinement",
    "DeepLabV2Head",
    "DeepLabV3Head",
    "GCNHead",
    "Gather",
    "GlobalConvolution",
    "HeadSettings",
    "PlainHead",
    "ResidualHead",
    "build_head",
]


def build_head(encoder, outputs: int, settings: HeadSettings = PLAIN, prefix=None):
    """A head of the kind `settings.kind`: all stages' features -> (N, outputs, h, w) logits.

    It can be subnet 0 (outputs = K) or a further plain subnet of a group g (outputs = |g| + 1).
    Raises ValueError for stages that the encoder lacks, and for a branch `detail`, which residual subnets alone have.
    """
    if settings.detail is not None:
        raise ValueError(
            "only residual subnets have a branch for detail: leave `detail` out, or build a `ResidualHead`"
        )
    makers = {"plain": PlainHead, "aspp_v2": DeepLabV2Head, "aspp_v3": DeepLabV3Head, "gcn": GCNHead}
    return makers[settings.kind](encoder, outputs, settings, prefix=prefix)
