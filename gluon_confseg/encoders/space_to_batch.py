"""Dilated convolutions as ordinary ones, exactly: pixels that lie `dilation` apart become neighbours.

A convolution of dilation d and stride 1 never mixes pixels whose rows, or columns, differ by anything but a multiple of
d. So an image is d * d small images, and in that layout the convolution has no dilation: on CPUs a dilated depthwise
convolution takes several times as long backward. No size is read, so the operations export and run at any size.
"""

from __future__ import annotations


def split(F, x, dilation: int, fill: str = "edge"):
    """Spread every image over d * d small ones: (N, C, H, W) -> (N * d * d, C, ceil(H / d), ceil(W / d)).

    Where d does not divide a size, images are first made larger at their ends: `fill` is "edge" or "constant" (0).
    Batch statistics count these pixels; copies of an edge move variances less than zeros do.
    """
    grown = F.pad(x, mode=fill, constant_value=0, pad_width=(0, 0, 0, 0, 0, dilation - 1, 0, dilation - 1))
    x = F.slice_like(grown, _whole(F, x, dilation), axes=(2, 3))
    x = F.reshape(x, shape=(0, 0, -4, -1, dilation, -4, -1, dilation))  # N, C, h, d, w, d
    x = F.transpose(x, axes=(0, 3, 5, 1, 2, 4))
    return F.reshape(x, shape=(-1, 0, 0, 0), reverse=True)


def join(F, x, dilation: int, like):
    """The inverse of `split`: (N * d * d, C, h, w) -> (N, C, H, W), cut to the size of `like`."""
    x = F.reshape(x, shape=(-1, dilation, dilation, 0, 0, 0), reverse=True)
    x = F.transpose(x, axes=(0, 3, 4, 1, 5, 2))
    return F.slice_like(F.reshape(x, shape=(0, 0, -3, -3)), like, axes=(2, 3))


def inside(F, x, dilation: int):
    """1 where `split` puts a pixel of x, 0 where it made one up: (N * d * d, 1, ceil(H / d), ceil(W / d))."""
    channel = F.slice_axis(x, axis=1, begin=0, end=1)
    return split(F, F.BlockGrad(F.ones_like(channel)), dilation, "constant")


def _whole(F, x, dilation: int):
    """Something of the least size that d divides and x fits in: (1, 1, ceil(H / d) * d, ceil(W / d) * d)."""
    # not F.slice: on a convolution's output it ends the process (MXNet 1.9.1 with oneDNN)
    one = F.slice_axis(F.slice_axis(x, axis=0, begin=0, end=1), axis=1, begin=0, end=1)
    coarse = F.Pooling(F.BlockGrad(one), kernel=(1, 1), stride=(dilation, dilation), pool_type="max")
    return F.UpSampling(coarse, scale=dilation, sample_type="nearest")
