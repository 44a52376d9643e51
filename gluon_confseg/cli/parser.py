"""The arguments of every verb. Imports nothing heavy: `confseg --help` answers at once."""

from __future__ import annotations

import argparse
from pathlib import Path

from gluon_confseg import __version__

# names that live in modules too heavy for --help; a test holds them to `fusion`, `datasets` and `labels`
RULES = ("subnet0", "sum", "product", "residual_product", "conditional", "learned")
DATASETS = ("cityscapes", "voc", "camvid", "custom")
LABEL_SPACES = ("cityscapes", "voc", "camvid")

CHECKPOINT = "a finished stage's network, RUN/checkpoints/STAGE.npz"
MATRICES = "confusion.npz of a run, of `evaluate` or of `confusion --out`; a run folder will do"
RULE = "how subnets are fused (default: as the network was trained for)"


def build() -> argparse.ArgumentParser:
    """The parser; `verb` of its result is the name of a module here, `usage` ends with a usage error."""
    parser = argparse.ArgumentParser(
        "confseg", description="Segmentation networks, and what they confuse.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"confseg {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for declare in (_doctor, _evaluate, _confusion, _groups, _predict, _submit, _export, _report):
        what = declare.__doc__.strip()
        verb = verbs.add_parser(declare.__name__[1:], help=what, description=what, allow_abbrev=False)
        declare(verb)
        verb.add_argument("--json", action="store_true", help="print one JSON object for programs")
        verb.set_defaults(usage=verb.error)
    return parser


def _doctor(verb) -> None:
    """Say what works on this machine, what does not, and what to do."""


def _evaluate(verb) -> None:
    """Score a network on images at their own size, as the official Cityscapes scorer counts."""
    verb.add_argument("checkpoint", type=Path, help=CHECKPOINT)
    verb.add_argument(
        "--data", choices=DATASETS, help="data set (default: the one whose classes the network has)"
    )
    verb.add_argument(
        "--root",
        type=Path,
        help="its folder (default: $CITYSCAPES_ROOT, $VOC_ROOT, ...)",
    )
    verb.add_argument("--split", default="val", help="train, val (default) or test")
    verb.add_argument("--rule", choices=RULES, help=RULE)
    _views(verb)
    verb.add_argument("--out", type=Path, metavar="FILE.npz", help="write the confusion matrix here")


def _confusion(verb) -> None:
    """Show a confusion matrix and its worst pairs: of a run, or of any predictions in a folder."""
    verb.add_argument("file", type=Path, nargs="?", help=MATRICES)
    verb.add_argument("--key", help="which matrix of the file (default: the first that is not `train`)")
    verb.add_argument(
        "--predictions", type=Path, metavar="FOLDER", help="PNGs of class ids, instead of a file"
    )
    verb.add_argument("--labels", type=Path, metavar="FOLDER", help="PNGs of class ids with the same names")
    verb.add_argument("--root", type=Path, help="instead of --labels: the folder of the data set")
    verb.add_argument("--split", default="val", help="with --root: train, val (default) or test")
    verb.add_argument("--data", choices=LABEL_SPACES, help="whose classes they are; needed for folders")
    verb.add_argument(
        "--class", dest="classes", action="append", metavar="NAME", help="only pairs with this class"
    )
    verb.add_argument("--worst", type=_count, default=10, metavar="N", help="pairs to list (default: 10)")
    verb.add_argument("--picture", type=_png, metavar="FILE.png", help="draw the matrix")
    verb.add_argument("--out", type=Path, metavar="FILE.npz", help="for folders: write the matrix here")


def _groups(verb) -> None:
    """Discover the groups of classes that are confused, and compare them with the paper's."""
    verb.add_argument("file", type=Path, help=MATRICES)
    verb.add_argument("--key", help="which matrix of the file (default: `train`, or the first)")
    verb.add_argument(
        "--threshold",
        type=_share,
        metavar="SHARE",
        help="taken off every edge, 0 to 2 (default: the mean edge)",
    )
    verb.add_argument("--max-groups", type=_positive, metavar="N", help="keep the N most confused")
    verb.add_argument(
        "--data", choices=LABEL_SPACES, help="whose classes they are, where the file does not say"
    )
    verb.add_argument("--picture", type=_png, metavar="FILE.png", help="draw the groups")


def _predict(verb) -> None:
    """Segment pictures: class ids, and colours over the picture, as PNGs."""
    verb.add_argument("checkpoint", type=Path, help=CHECKPOINT)
    verb.add_argument("images", type=Path, nargs="+", metavar="image", help="PNG or JPEG files")
    verb.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="gets ids/ and overlay/")
    verb.add_argument("--rule", choices=RULES, help=RULE)
    _views(verb)


def _submit(verb) -> None:
    """Write the archive for a benchmark's test server, and check it; or check one that is there."""
    verb.add_argument("checkpoint", type=Path, nargs="?", help=CHECKPOINT)
    verb.add_argument("--out", type=Path, metavar="ARCHIVE", help="Cityscapes: .zip; PASCAL VOC: .tgz")
    verb.add_argument("--check", type=Path, metavar="ARCHIVE", help="check this one, write nothing")
    verb.add_argument(
        "--data", choices=DATASETS, help="benchmark (default: the one whose classes the network has)"
    )
    verb.add_argument("--root", type=Path, help="its folder (default: $CITYSCAPES_ROOT, $VOC_ROOT)")
    verb.add_argument(
        "--names", type=Path, metavar="LIST", help="with --check: images, one a line, for --root"
    )
    verb.add_argument("--split", default="test", help="test (default), or val to try it")
    verb.add_argument("--rule", choices=RULES, help=RULE)
    _views(verb)


def _export(verb) -> None:
    """Write a network as one graph that MXNet alone runs, checked against the live network."""
    verb.add_argument("checkpoint", type=Path, help=CHECKPOINT)
    verb.add_argument(
        "--out", type=Path, required=True, metavar="PREFIX", help="what the files' names begin with"
    )
    verb.add_argument("--rule", choices=RULES, help=RULE)


def _report(verb) -> None:
    """Write a run's report.html again from its files, and print its table."""
    verb.add_argument("run", type=Path, help="a run folder")


def _views(verb) -> None:
    verb.add_argument("--flip", action="store_true", help="average with the mirrored image")
    verb.add_argument(
        "--scales", type=_scale, nargs="+", metavar="S", help="average these sizes (default: 1)"
    )
    verb.add_argument(
        "--window",
        type=_positive,
        nargs=2,
        metavar=("H", "W"),
        help="slide a window of this size, in pixels of the scaled image (default: the whole image)",
    )
    verb.add_argument(
        "--overlap",
        type=_overlap,
        metavar="SHARE",
        help="share of a window that the next one covers again (default: a third)",
    )
    verb.add_argument(
        "--bicubic", action="store_true", help="enlarge probabilities bicubically, as ResNet-38's authors do"
    )
    verb.add_argument(
        "--crf", action="store_true", help="refine by a dense CRF: pip install 'gluon-confseg[crf]'"
    )


def _count(text: str) -> int:
    return _number(text, int, 0, 10**6, "a whole number from 0 on")


def _positive(text: str) -> int:
    return _number(text, int, 1, 10**6, "a whole number from 1 on")


def _scale(text: str) -> float:
    return _number(text, float, 0.1, 4, "a factor from 0.1 to 4")


def _overlap(text: str) -> float:
    return _number(text, float, 0, 0.95, "a share from 0 to 0.95")


def _share(text: str) -> float:
    return _number(text, float, 0, 2, "a share from 0 to 2 (0.05 is 5 %)")


def _number(text: str, kind, least, most, wanted: str):
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value


def _png(text: str) -> Path:
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .png")
    return Path(text)
