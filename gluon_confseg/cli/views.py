"""The options of how a network looks at an image, `--flip` to `--crf`, for the verbs that run one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gluon_confseg.cli import options
from gluon_confseg.errors import RunError

if TYPE_CHECKING:
    from gluon_confseg.inference import Inference

OPTIONS = ("flip", "scales", "window", "overlap", "bicubic", "crf")


def add_arguments(parser) -> None:
    """All of them."""
    parser.add_argument("--flip", action="store_true", help="run on the mirrored image as well, and average")
    parser.add_argument(
        "--scales",
        type=options.number(float, 0.1, 4, "a factor from 0.1 to 4"),
        nargs="+",
        metavar="S",
        help="run on the image resized by each of these factors, and average (default: 1)",
    )
    parser.add_argument(
        "--window",
        type=options.positive,
        nargs=2,
        metavar=("H", "W"),
        help="run on overlapping windows of this height and width in pixels (default: on the whole image)",
    )
    parser.add_argument(
        "--overlap",
        type=options.number(float, 0, 0.95, "a share from 0 to 0.95"),
        metavar="SHARE",
        help="the share of a window that the next window covers again (default: a third)",
    )
    parser.add_argument(
        "--bicubic",
        action="store_true",
        help="enlarge the probabilities bicubically, as ResNet-38's authors do",
    )
    parser.add_argument(
        "--crf",
        action="store_true",
        help="refine the probabilities by a dense CRF; needs `pip install pydensecrf2`",
    )


def words(inference: Inference) -> str:
    """The options that ask for this, each after a blank; "" for whole images at their own size."""
    asked = []
    if inference.scales != (1.0,):
        asked += ["--scales", *(f"{scale:g}" for scale in inference.scales)]
    if inference.window:
        asked += ["--window", *map(str, inference.window), "--overlap", f"{inference.overlap:.6g}"]
    asked += [f"--{name}" for name in ("flip", "bicubic", "crf") if getattr(inference, name)]
    return "".join(f" {word}" for word in asked)


def inference(arguments) -> Inference:
    """What the command line asks for; RunError for what can't be, and for a library that is not installed."""
    from gluon_confseg.crf import DenseCRF
    from gluon_confseg.inference import Inference

    if arguments.overlap is not None and not arguments.window:
        raise RunError("--overlap is of windows: give --window H W as well")
    overlap = {} if arguments.overlap is None else {"overlap": arguments.overlap}
    chosen = Inference(
        scales=tuple(arguments.scales or (1.0,)),
        flip=arguments.flip,
        window=tuple(arguments.window) if arguments.window else None,
        bicubic=arguments.bicubic,
        crf=DenseCRF() if arguments.crf else None,
        **overlap,
    )
    chosen.check()
    return chosen
