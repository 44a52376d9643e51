"""The settings of a head: its kind, a context module before it, and the settings of these two."""

from __future__ import annotations

import dataclasses

# kind or context -> its settings and their defaults; None stands for the published value for the output stride
KINDS = {
    "plain": {"channels": 512, "depth": 2, "dilation": 12},
    "aspp_v2": {"rates": None},
    "aspp_v3": {"channels": 256, "rates": None},
    "gcn": {"kernel": 15},
}
STRIDES = (4, 8, 16, 32)  # that a stage of an encoder can have
DETAILS = (1, 2, 3)  # stages that can have a finer grid than a head's
CONTEXTS = {"aspp": {"rates": None}, "gcn": {"kernel": 15}}


@dataclasses.dataclass(frozen=True)
class HeadSettings:
    """Settings of one head; those that are left out have the default of its kind.

    channels    width of the hidden layers, and of the context module's output (default for plain 512, aspp_v3 256)
    depth       number of convolutions of a plain head (2)
    dilation    of a plain head's convolutions (12)
    stages      the encoder's stages that it reads, of 1 to 4; the highest comes last
    kind        "plain"; "aspp_v2" (DeepLabV2), "aspp_v3" (DeepLabV3); "gcn" (Peng et al. 2017)
    context     None, or "aspp" or "gcn": a module between the features and a plain head
    rates       dilations of ASPP's 3x3 convolutions; None: those published (`aspp.published_rates`)
    kernel      size of GCN's large kernel, odd (15)
    output_stride  pixels per feature of the grid that its body works on, 4 to 32; None: the network's output stride.
                Only further subnets may have a smaller one, that of an earlier stage; coarser features are enlarged to
                it
    detail      None, or a stage with a finer grid, 1 to 3: a second branch reads this stage alone, on its grid, and
                adds to the enlarged logits there. For residual subnets alone

    Raises ValueError for an unknown kind or context, a setting that the kind does not have, and a number below 1 or
    beyond what any network has (`_MOST`).
    """

    channels: int | None = None
    depth: int | None = None
    dilation: int | None = None
    stages: tuple = (4,)
    kind: str = "plain"
    context: str | None = None
    rates: tuple | None = None
    kernel: int | None = None
    output_stride: int | None = None
    detail: int | None = None

    def __post_init__(self):
        for name in ("stages", "rates"):  # JSON turns tuples into lists
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.kind not in KINDS:
            raise ValueError(f"no head {self.kind!r}: choose one of {', '.join(KINDS)}")
        defaults, what = KINDS[self.kind], f"a {self.kind} head"
        if self.context is not None:
            if self.context not in CONTEXTS:
                raise ValueError(f"no context {self.context!r}: choose None or one of {', '.join(CONTEXTS)}")
            if self.kind != "plain":
                raise ValueError(f"a context stands before plain heads, not before {self.kind!r}")
            defaults, what = {**defaults, **CONTEXTS[self.context]}, f"{what} after {self.context}"
        for name in ("channels", "depth", "dilation", "rates", "kernel"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, defaults.get(name))
            elif name not in defaults:
                raise ValueError(
                    f"{what} has no {name}: its settings are stages, {', '.join(defaults) or 'no more'}"
                )
            else:
                _check(name, getattr(self, name))
        if self.output_stride not in (None, *STRIDES):
            raise ValueError(
                f"a head's output stride is one of {', '.join(map(str, STRIDES))}, got {self.output_stride!r}"
            )
        if self.detail is not None and self.kind != "plain":
            raise ValueError(f"{what} has no detail: only plain heads of residual subnets have such a branch")
        if self.detail not in (None, *DETAILS):
            raise ValueError(
                f"a head's detail is one of the stages {', '.join(map(str, DETAILS))}, or none, got {self.detail!r}"
            )


_MOST = {"channels": 65_536, "depth": 100, "dilation": 1024, "rates": 1024, "kernel": 1023}


def _check(name: str, value) -> None:
    values = value if isinstance(value, tuple) else (value,)
    if not values or not 1 <= min(values) <= max(values) <= _MOST[name] or any(v != int(v) for v in values):
        raise ValueError(f"a head's {name} is made of whole numbers from 1 to {_MOST[name]:,}, got {value}")
    if name == "kernel" and value % 2 == 0:
        raise ValueError(f"a head's kernel is odd, so that the grid stays as it is, got {value}")


PLAIN = HeadSettings()
RESIDUAL = HeadSettings(channels=256, dilation=1, stages=(2, 3, 4))
