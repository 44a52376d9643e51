"""Turns dilated convolutions into ordinary ones, exactly: pixels that lie `dilation` apart become neighbours.

A convolution of dilation d and stride 1 only combines pixels whose rows and columns differ by multiples of d. So an
image can be split into d * d small images, in which the convolution has no dilation. This is faster on CPUs, where a
dilated depthwise convolution takes several times as long backward. No size is read, so the operations can be exported
and run at any size.
"""

from __future__ import annotations


def split(F, x, dilation: int, fill: str = "edge"):
    """Split every image into d * d small ones: (N, C, H, W) -> (N * d * d, C, ceil(H / d), ceil(W / d)).

    If d does not divide a size, images are first filled up at the bottom and right: `fill` is "edge" or "constant" (0).
    Batch statistics count the filling; copies of the edge change variances less than zeros do.
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
    """1 where `split` puts a pixel of x, 0 in its filling: (N * d * d, 1, ceil(H / d), ceil(W / d))."""
    channel = F.slice_axis(x, axis=1, begin=0, end=1)
    return split(F, F.BlockGrad(F.ones_like(channel)), dilation, "constant")


def _whole(F, x, dilation: int):
    """An array of x's size, rounded up to multiples of d: (1, 1, ceil(H / d) * d, ceil(W / d) * d)."""
    # not F.slice: on a convolution's output it crashes the process (MXNet 1.9.1 with oneDNN)
    one = F.slice_axis(F.slice_axis(x, axis=0, begin=0, end=1), axis=1, begin=0, end=1)
    coarse = F.Pooling(F.BlockGrad(one), kernel=(1, 1), stride=(dilation, dilation), pool_type="max")
    return F.UpSampling(coarse, scale=dilation, sample_type="nearest")
