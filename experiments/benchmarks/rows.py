"""The rows of `make bench`: what is measured, against what, with which goal, and what is known about each.

Everything that docs/performance.md says of a row, beside its figures, stands here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from .rounds import Side

FOLDER = "{folder}"  # in a side's settings: the row's temporary folder
LAYOUTS = ("contiguous", "channels_last")
CLASSES = 19


@dataclasses.dataclass(frozen=True)
class Against:
    """What a row is compared with: the better of some sides.

    goal   the ratio ours / theirs that is to be reached
    least  the ratio that the numbers of multiply-adds alone give; None where the row is no matter of these
    """

    id: str
    name: str
    sides: tuple
    goal: float
    least: float | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """One piece of work.

    ours         sides that do the work in this project's way; the better one counts
    against      comparisons, each with a line of its own
    bounds       what bounds our side, in words
    tried        what was tried, and what came of it
    unit         "s" or "MiB": time, or peak resident memory of the process
    goal         seconds, for a row without a comparison
    work         (kind, factor): the least work is `factor` times the "multiply_adds" that the sides state, or `factor`
                 "bytes" of memory traffic; the page sets the time against what the machine can do
    rounds       how many, if not as many as the others
    prepare      function of the row's folder that writes what the sides read
    """

    id: str
    title: str
    ours: tuple
    against: tuple = ()
    bounds: str = ""
    tried: str = ""
    unit: str = "s"
    goal: float | None = None
    work: tuple | None = None
    rounds: int | None = None
    prepare: Callable[[Path], object] | None = None

    def comparisons(self) -> list:
        """(id in the history, `Against`) of each line; ("id", None) for a row without a comparison."""
        return [(f"{self.id}/{against.id}", against) for against in self.against] or [(self.id, None)]


def all_rows(quick: bool = False) -> list:
    """Every row; with `quick` at the smallest sizes, which measure nothing."""
    every = [
        *_steps(quick),
        *_inference(quick),
        *_fused(quick),
        *_subnets(quick),
        _loss(quick),
        *_counting(quick),
        *_groups(quick),
        _memory(quick),
        _start(),
    ]
    return [_slim(row) for row in every] if quick else every


def _slim(row: Row) -> Row:
    """The row with one side of ours and one of each comparison's, of one thread, with one work in a round.

    ResNet-18 stands for ResNet-50 but in one row, as most of the time would go into its initial values.
    """

    def first(sides: tuple) -> tuple:
        settings = {**sides[0].settings, "once_only": True}
        if settings.get("encoder") == "resnet50" and row.id != "inference-resnet50":
            settings["encoder"] = "resnet18"
        return (dataclasses.replace(sides[0], settings=settings, threads=1),)

    against = tuple(dataclasses.replace(one, sides=first(one.sides)) for one in row.against)
    return dataclasses.replace(row, ours=first(row.ours), against=against)


# ---- networks


def networks_side(work: str, name: str = "ours", threads: int = 2, **settings) -> Side:
    """A side of this project's own, of a work of ours_networks.py."""
    return Side(name, "ours_networks", {"work": work, **settings}, threads)


def _torch(work: str, threads: tuple = (2,), **settings) -> tuple:
    return tuple(
        Side(
            f"PyTorch, {layout.replace('_', '-')}"
            + (f", {count} thread" + "s" * (count > 1)) * (len(threads) > 1),
            "peers_networks",
            {"work": work, "layout": layout, **settings},
            count,
        )
        for layout in LAYOUTS
        for count in threads
    )


def _steps(quick: bool) -> list:
    shape = (2, 3, 64, 64) if quick else (4, 3, 240, 240)
    small = (2, 3, 64, 64) if quick else (4, 3, 160, 224)
    eager = "PyTorch eager, the better of two memory layouts"
    rows = []
    for name, title, profile in (
        (
            "resnet50",
            "ResNet-50",
            "Of a step of 5.25 s, by MXNet's profiler: the 3x3 convolutions by Winograd's algorithm 2.4 s, oneDNN's, "
            "which are 1x1, 2.1, batch norms 0.24, the update 0.18.",
        ),
        (
            "resnet18",
            "ResNet-18",
            "Of a step of 1.6 s, by MXNet's profiler: the 3x3 convolutions by Winograd's algorithm 1.14 s, batch norms "
            "0.11, oneDNN's convolutions and the update 0.07 each.",
        ),
    ):
        rows.append(
            Row(
                f"step-{name}",
                f"training step, {title}, output stride 8, {_size(shape)}",
                (networks_side("step", encoder=name, shape=shape),),
                (Against("pytorch", eager, _torch("step", encoder=name, shape=shape), 0.95),),
                profile,
                "Winograd's algorithm for the 3x3 convolutions of 64 channels or more and their gradients "
                "(`gluon_confseg/compiled/convolution.cc`), with a quarter of the multiplications of the definition: "
                "the step was 0.98 (ResNet-50) and 1.13 (ResNet-18) of PyTorch's before, with oneDNN's. "
                "A bare Gluon loop (hybridized, static memory) takes as long as the product's step, so the loop itself "
                "costs nothing. A compiled batch norm with its ReLU made ResNet-18's step 5 to 20 % longer in four of "
                "four rounds: convolutions keep their results in blocks of channels, from which it had to copy them.",
                work=("multiply_adds", 3),
            )
        )
    both = (1, 2)
    rows.append(
        Row(
            "step-lite0",
            f"training step, EfficientNet-Lite0 as the small profiles cut it, {_size(small)}",
            tuple(
                networks_side(
                    "step",
                    f"ours, {n} thread{'s' * (n > 1)}",
                    n,
                    encoder="efficientnet_lite0",
                    shape=small,
                    kind="small",
                )
                for n in both
            ),
            (
                Against(
                    "pytorch",
                    "PyTorch eager, the better of two memory layouts and of 1 and 2 threads",
                    _torch("step", both, encoder="efficientnet_lite0", shape=small),
                    0.95,
                ),
            ),
            "1x1 convolutions with the copies between their memory layout and the ordinary one, then batch norms, then "
            "depthwise convolutions: of a step of 480 ms with one thread 180, 95 and 80, by MXNet's profiler.",
            "In MXNet's operators the weight gradients of seven convolutions, five of them depthwise with kernels of "
            "5x5, took 250 ms of a step of 850, and ReLU6 and its copies 140. The compiled operators "
            "(`gluon_confseg/compiled/`) do both in the ordinary layout: with two threads a step of 677 ms took 447, "
            "and 350 to 380 once the gradients were computed in vectors. Matrix products instead of 1x1 convolutions "
            "were faster for few channels and slower for many.",
            work=("multiply_adds", 3),
        )
    )
    return rows


def _inference(quick: bool) -> list:
    shape = (1, 3, 64, 128) if quick else (1, 3, 512, 1024)
    networks = (
        (
            "resnet50",
            "ResNet-50",
            "paper",
            "1x1 convolutions of oneDNN, and the products of the 3x3 ones, which are matrix products too.",
        ),
        (
            "resnet18",
            "ResNet-18",
            "paper",
            "The 3x3 convolutions by Winograd's algorithm: 818 of 888 ms, by MXNet's profiler. "
            "oneDNN's take 55, pooling 5.",
        ),
        (
            "efficientnet_lite0",
            "EfficientNet-Lite0",
            "small",
            "1x1 and depthwise convolutions of oneDNN: 147 of 183 ms, by MXNet's profiler. The compiled "
            "operator is for none of them. The head's 3x3 convolutions take 20, copies that flip images 2, the "
            "softmax 2.",
        ),
    )
    return [
        Row(
            f"inference-{name.replace('efficientnet_', '')}",
            f"inference, {title} with subnet 0, images to classes, {_size(shape)}",
            (networks_side("predict", encoder=name, shape=shape, kind=kind),),
            (
                Against(
                    "pytorch",
                    "PyTorch eager, the better of two memory layouts",
                    _torch("predict", encoder=name, shape=shape),
                    0.85,
                ),
                Against(
                    "onnxruntime",
                    "onnxruntime",
                    (
                        Side(
                            "onnxruntime", "peers_onnx", {"work": "predict", "encoder": name, "shape": shape}
                        ),
                    ),
                    0.95,
                ),
            ),
            bounds,
            "The network is run as a fused graph of constant values (`gluon_confseg/frozen.py`): batch norms are "
            "folded into convolutions, ReLU6 is a `clip`, dilated blocks are not split, and no softmax is computed "
            "where classes alone are wanted. That took EfficientNet-Lite0 from 902 to 212 ms in one run, ResNet-18 "
            "from 1,847 to 1,795. A compiled operator (`gluon_confseg/compiled/winograd.cc`) computes 3x3 convolutions "
            "by Winograd's algorithm, with a quarter of the multiplications of the definition, and a dilation costs it "
            "nothing; oneDNN has this algorithm for CPUs with AVX-512 alone, and multiplies matrices where the padding "
            "is wide. It took ResNet-18 from 2,168 to 857 ms in one run, ResNet-50 from 4,425 to 2,684. With the "
            "largest class of each pixel found by a compiled function too, EfficientNet-Lite0 went from 203 to 161 in "
            "one run and from 207 to 189 in another, disturbed one. Dilated blocks need no split any more.",
        )
        for name, title, kind, bounds in networks
    ]


def _fused(quick: bool) -> list:
    shape = (1, 3, 64, 128) if quick else (1, 3, 512, 1024)
    rows = []
    for name, encoder, kind, rule, goal, least, bounds, tried in (
        (
            "lite0",
            "efficientnet_lite0",
            "small",
            "residual_product",
            1.05,
            1.33,
            "Beside subnet 0's operators, by MXNet's profiler in a run of 198 ms: the heads' first convolutions 18, "
            "the pooling of stage 1's features down to the grid 11, their flipping and their concatenation 6.",
            "The heads' first convolutions are computed as one, with the norm before each as a further input that is 1 "
            "in every pixel. The residual product of residual heads needs no softmax of each head, and the maps from "
            "their classes to all are part of the last convolutions' weights. That took four heads from 358 ms, "
            "1.31 times subnet 0 alone, to 190 to 230, while subnet 0 became faster too.",
        ),
        (
            "resnet50",
            "resnet50",
            "paper",
            "sum",
            1.5,
            1.84,
            "A head of the paper's size costs more than a third of the encoder's multiply-adds, so arithmetic alone "
            "gives a multiple of the time; a better efficiency on the heads' large convolutions can bring it below.",
            "Winograd's algorithm computes all heads' 3x3 convolutions, and those of the encoder (rows above).",
        ),
    ):
        settings = {"encoder": encoder, "shape": shape, "kind": kind}
        rows.append(
            Row(
                f"fused-{name}",
                f"fused network with 4 heads, {_title(encoder)}, {_size(shape)}",
                (networks_side("predict", "four heads, fused", subnets=3, rule=rule, **settings),),
                (
                    Against(
                        "subnet0",
                        "its subnet 0 alone",
                        (networks_side("predict", "subnet 0", **settings),),
                        goal,
                        least,
                    ),
                ),
                bounds,
                tried,
            )
        )
    return rows


def _subnets(quick: bool) -> list:
    small = (2, 3, 64, 64) if quick else (4, 3, 160, 224)
    large = (2, 3, 64, 64) if quick else (4, 3, 240, 240)
    lite0 = {"encoder": "efficientnet_lite0", "shape": small, "kind": "small"}
    resnet = {"encoder": "resnet50", "shape": large, "kind": "paper"}

    def one_by_one(settings: dict) -> tuple:
        return (networks_side("subnets", "one by one", together=False, **settings),)

    return [
        Row(
            "subnets-lite0",
            f"training step of 3 subnets at once, EfficientNet-Lite0, small heads, {_size(small)}",
            (networks_side("subnets", "three at once", **lite0),),
            (
                Against("one-by-one", "each subnet in a step of its own", one_by_one(lite0), 0.40),
                Against(
                    "encoder",
                    "the encoder's forward pass, not as a fused graph",
                    (networks_side("encoder", "encoder", **lite0),),
                    1.3,
                ),
            ),
            "The frozen encoder runs once for all subnets. As a fused graph it takes a quarter of its former time, so "
            "sharing it saves little, and the heads' own training is what is left: the goals were set when the encoder "
            "was most of the step. The first one compares with steps that have the fast encoder too.",
            "The fused encoder took the step from 382 to 273 ms in one run.",
        ),
        Row(
            "subnets-resnet50",
            f"training step of 3 subnets at once, ResNet-50, the paper's heads, {_size(large)}",
            (networks_side("subnets", "three at once", **resnet),),
            (Against("one-by-one", "each subnet in a step of its own", one_by_one(resnet), 0.60, 0.65),),
            "Only the encoder's forward pass is shared. With heads of the paper's size, which are trained forward and "
            "backward, that is the smaller part, so arithmetic sets a limit.",
            "",
        ),
    ]


def _memory(quick: bool) -> Row:
    shape = (2, 3, 64, 64) if quick else (2, 3, 500, 500)
    return Row(
        "memory-resnet50",
        f"peak memory of a training step, ResNet-50, output stride 8, {_size(shape)}",
        (networks_side("step", encoder="resnet50", shape=shape),),
        (
            Against(
                "pytorch",
                "PyTorch eager, the better of two memory layouts",
                _torch("step", encoder="resnet50", shape=shape),
                1.0,
            ),
        ),
        "The outputs of convolutions and of batch norms with their ReLU are kept for the backward pass: 1.9 of 3.4 "
        "GiB. MXNet keeps them all until the backward pass is over, and its buffers for gradients stay between steps.",
        "A step took 4.8 GiB, 1.2 of which oneDNN needed for its convolutions of dilation 4 and 12: every pixel "
        "written nine times for each thread, in memory that is kept for each size. The compiled operators have a "
        "convolution that is a sum of nine matrix products instead, which is as fast. MXNet's temporary memory, of "
        "which it has four pieces, is one piece now. `docs/memory.md` has the table, and what else was measured.",
        unit="MiB",
        rounds=1,
    )


# ---- loss, matrix, groups, commands


def _loss(quick: bool) -> Row:
    shape = (1, CLASSES, 64, 64) if quick else (4, CLASSES, 512, 512)
    settings = {"shape": shape, "ignored": 0.08}
    values = 1
    for length in shape:
        values *= length
    return Row(
        "loss",
        f"the paper's loss forward and backward, {_size(shape)}",
        (Side("ours", "ours_loss", {"work": "loss", **settings}),),
        (
            Against(
                "same",
                "the same loss in PyTorch",
                (Side("PyTorch, same", "peers_loss", {"work": "same", **settings}),),
                0.2,
            ),
            Against(
                "cross-entropy",
                "PyTorch's plain cross-entropy",
                (Side("PyTorch, cross-entropy", "peers_loss", {"work": "plain", **settings}),),
                1.0,
            ),
        ),
        "Logits and gradient cross the memory only once. The rest is the exponentials, the logarithm of each 1 - q and "
        "the choice of each pixel's weights, in the cache.",
        "Value and gradient are computed together, in one pass over blocks that fit into the second-level cache "
        "(`docs/loss.md`), compiled where there is a compiler, else by NumPy. The gradient is written to memory of "
        "earlier steps that nobody holds any more: in new memory the forward pass took 205 ms and not 94, in one run.",
        work=("bytes", 8 * values),
    )


def _counting(quick: bool) -> list:
    shape = (1, 64, 128) if quick else (1, 1024, 2048)
    settings = {"shape": shape, "num_classes": CLASSES, "ignored": 0.08}
    pairs, size = (2, (64, 128)) if quick else (100, (1024, 2048))
    folder = {"folder": FOLDER}
    return [
        Row(
            "matrix",
            f"confusion matrix, {shape[1]} x {shape[2]} uint8, {CLASSES} classes, 8 % of the pixels ignored",
            (Side("ours", "ours_arrays", {"work": "matrix", **settings}),),
            (
                Against(
                    "c",
                    "a loop in C",
                    (Side("C loop", "peers_arrays", {"work": "matrix_in_c", **settings}),),
                    1.0,
                ),
                Against(
                    "scikit-learn",
                    "scikit-learn",
                    (Side("scikit-learn", "peers_arrays", {"work": "matrix_in_sklearn", **settings}),),
                    0.04,
                ),
            ),
            "A count is read and written again for each pixel, in C as in ours.",
            "Pairs of bytes are merged into numbers of 16 bits and counted by OpenCV's histogram. Pixels of the two "
            "halves of an image take turns, since a cell that is counted twice in a row waits for itself. NumPy's "
            "`bincount` of 64-bit numbers took ten times as long.",
            work=("bytes", 2 * shape[1] * shape[2]),
        ),
        Row(
            "confusion",
            f"`confseg confusion`, {pairs} pairs of {size[1]} x {size[0]} PNGs, the whole command",
            (Side("ours", "ours_commands", {"work": "confusion", **folder}),),
            (
                Against(
                    "official",
                    "the official script, counting in C",
                    (Side("official script", "peers_scorer", {"work": "confusion", **folder}),),
                    1.0,
                ),
            ),
            "Decoding PNGs is most of the work, by OpenCV in two threads; the official script decodes by Pillow. The "
            "rest is the start of the command.",
            "Counted in 64-bit numbers, the command took 4.7 s beside 2.8 s of the official script, in an earlier run.",
            prepare=lambda where: write_pairs(where, pairs, *size),
        ),
    ]


def _groups(quick: bool) -> list:
    few, many = (12, 16) if quick else (150, 500)
    return [
        Row(
            "groups-150",
            f"discovery of groups, {few} classes",
            (Side("ours", "ours_arrays", {"work": "discover", "num_classes": few}),),
            (
                Against(
                    "louvain",
                    "networkx's Louvain communities",
                    (Side("networkx", "peers_arrays", {"work": "louvain", "num_classes": few}),),
                    3.0,
                ),
            ),
            "Ours searches from many starts and in exact integers, so that its result depends on no seed and no order "
            "of the classes; Louvain searches once, and another seed may find other communities.",
            "The search is compiled (`gluon_confseg/compiled/groups.cc`), one start after the other in one thread. A "
            "move changes two communities, and of a class whose best one lost by it a bound is kept, until that bound "
            "is the highest gain of all. Where there is no compiler, all starts climb at once in NumPy arrays: that "
            "took 126 to 174 ms beside 13 to 21 compiled, and 1.5 to 1.6 s beside 0.16 to 0.20 for 500 classes. "
            "Products of whole 64-bit matrices took 7.9 s for 150. Whether one group holds all classes is answered by "
            "the first optimum above 0.",
        ),
        Row(
            "groups-500",
            f"discovery of groups, {many} classes",
            (Side("ours", "ours_arrays", {"work": "discover", "num_classes": many}, limit=60.0),),
            bounds="As for the row above; time grows with a power of the number of classes (second table).",
            goal=10.0,
            rounds=1,
        ),
    ]


def _start() -> Row:
    return Row(
        "start",
        "`confseg evaluate`, from the start of the command to the first image",
        (Side("ours", "ours_commands", {"work": "start", "folder": FOLDER}),),
        (
            Against(
                "import-mxnet",
                "a process that imports MXNet",
                (Side("import mxnet", "ours_commands", {"work": "import_mxnet"}),),
                1.1,
            ),
        ),
        "Importing MXNet takes most of the time. The rest is reading the checkpoint and building the "
        "network; the work on the image is not counted.",
        "GluonCV's ResNets are imported alone, without the rest of the package; MXNet without SciPy's statistics; "
        "Matplotlib with the first picture; no initial values are drawn for a network that a checkpoint fills; a few "
        "images are read without further processes; and headers of arrays are parsed once for all arrays of a shape.",
    )


def write_pairs(folder: Path, pairs: int, height: int, width: int) -> None:
    """Write labels and predictions of raw Cityscapes ids as PNGs: folder/labels/*.png, folder/predictions/*.png."""
    import cv2

    from . import draws

    for name in ("labels", "predictions"):
        (folder / name).mkdir()
    for number in range(pairs):
        for name, ids in zip(("labels", "predictions"), draws.scene(number, height, width)):
            cv2.imwrite(str(folder / name / f"town_{number:06d}_000019.png"), ids)


def _size(shape) -> str:
    return " x ".join(map(str, shape))


def _title(encoder: str) -> str:
    return {"efficientnet_lite0": "EfficientNet-Lite0", "resnet50": "ResNet-50, the paper's heads"}[encoder]
