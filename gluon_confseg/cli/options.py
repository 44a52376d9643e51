"""What the arguments of several verbs are made of. Imports nothing heavy: `confseg --help` answers at once."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Callable
from pathlib import Path

from gluon_confseg import demo
from gluon_confseg.errors import did_you_mean

# names that live in modules too heavy for --help; a test holds them to `fusion`, `datasets` and `labels`
RULES = ("subnet0", "sum", "product", "residual_product", "conditional", "learned")
DATASETS = ("cityscapes", "voc", "camvid", "custom")
KVSTORES = ("horovod", "dist_sync")  # ways for worker processes to communicate: `distributed`
KINDS_OF_IDS = ("raw", "train")
HIDDEN = argparse.SUPPRESS  # the help of an option that is for the package itself


class HelpFormatter(argparse.HelpFormatter):
    """Wraps a description, and keeps the lines of examples as they are."""

    def _fill_text(self, text, width, indent):
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations, and says which verb or option a misspelt one is nearest to."""

    _verbs = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def add_verbs(self):
        """Sub-commands; the name of the one that was given becomes `verb`."""
        self._verbs = self.add_subparsers(dest="verb", metavar="VERB", required=True)
        return self._verbs

    def parse_known_args(self, args=None, namespace=None):
        """As its base's, which says of a misspelt option at most that another one is missing."""
        words = sys.argv[1:] if args is None else args
        known = self._option_string_actions  # argument groups add to it as well
        for word in words[: words.index("--")] if "--" in words else words:
            if self._verbs and not word.startswith("-"):
                if word not in self._verbs.choices:
                    self.error(f"there is no verb {word}{_instead(word, self._verbs.choices)}")
                break  # what comes after it is the verb's
            name = word.split("=")[0]
            if re.fullmatch(r"--?[a-zA-Z]\S*", name) and name not in known:
                instead = did_you_mean(name, known) or "; --help lists those there are"
                self.error(f"there is no option {name}{instead}")
        return super().parse_known_args(words, namespace)


def devices(text: str) -> tuple:
    """("gpu", 0), ... of "gpu:0-3" or "cpu:0,cpu:1"."""
    found = []
    for each in text.split(","):
        wanted = re.fullmatch(r"(cpu|gpu):(\d+)(?:-(\d+))?", each.strip())
        if wanted is None or int(wanted[3] or wanted[2]) < int(wanted[2]):
            raise argparse.ArgumentTypeError(
                f"{each!r} names no device; write gpu:0, gpu:0-3, or several with commas between them"
            )
        found += [(wanted[1], number) for number in range(int(wanted[2]), int(wanted[3] or wanted[2]) + 1)]
    if len(set(found)) < len(found) or len({kind for kind, _ in found}) > 1:
        raise argparse.ArgumentTypeError(f"{text!r}: name each device once, and either GPUs or CPUs")
    return tuple(found)


def bandwidth(text: str) -> float:
    """Bytes in a second: "10Gbit", "10 Gbit/s", "1.2GB", "500MB/s"; K, M and G are powers of 1000."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*([KMG]?)(bit|B)(?:/s|ps)?", text.strip())
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no bandwidth; write 10Gbit, or 1.2GB for bytes, in a second"
        )
    return float(found[1]) * {"": 1, "K": 1e3, "M": 1e6, "G": 1e9}[found[2]] / (8 if found[3] == "bit" else 1)


def duration(text: str) -> float:
    """Seconds: "50us", "0.1ms", "1s"."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*(us|ms|s)", text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write it with its unit, as in 50us, 0.1ms or 1s"
        )
    return float(found[1]) / {"us": 1e6, "ms": 1e3, "s": 1.0}[found[2]]


def one_of(names, also: dict | None = None) -> Callable[[str], str]:
    """A type for `add_argument`: one of these names; `also`: other words for some of them."""

    def choose(word: str) -> str:
        name = (also or {}).get(word, word)
        if name not in names:
            raise argparse.ArgumentTypeError(f"there is no {word!r}{_instead(word, names)}")
        return name

    return choose


def number(kind: type, least: float, most: float, wanted: str) -> Callable[[str], float]:
    """A type for `add_argument`: an int or float within bounds; `wanted` says what it must be."""

    def convert(text: str) -> float:
        with contextlib.suppress(ValueError):
            value = kind(text)
            if least <= value <= most:
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")

    return convert


def checkpoint(text: str) -> Path:
    """A checkpoint's file; the word demo is the network that ships with the package, unless a file has that name."""
    return demo.NETWORK if text == demo.WORD and not Path(text).exists() else Path(text)


data_set = one_of(DATASETS, also={"own": "custom"})
count = number(int, 0, 10**6, "a whole number from 0 on")
positive = number(int, 1, 10**6, "a whole number from 1 on")


def _instead(word: str, names) -> str:
    return did_you_mean(word, names) or f"; choose one of {', '.join(names)}"


def add_checkpoint(verb: Parser, *, exported: bool = False, **kwargs) -> None:
    """CHECKPOINT, and --rule; exported: an exported network will do as well."""
    more = (
        ", the folder of a finished run, an exported network (its prefix, or an .onnx file)"
        if exported
        else ""
    )
    verb.add_argument(
        "checkpoint",
        type=checkpoint,
        help=f"a trained network, RUN/checkpoints/PHASE.npz{more}, or the word {demo.WORD} for the one that "
        "ships with the package",
        **kwargs,
    )
    verb.add_argument(
        "--rule",
        type=one_of(RULES),
        metavar="RULE",
        help="the fusion rule, by which the outputs of all subnets become one prediction: "
        f"{', '.join(RULES)} (default: the one that the network was trained for)",
    )


def add_data(verb: Parser, split: str, what: str) -> None:
    """--data, --root and --split; `split` is the default, `what` says what the data are for."""
    verb.add_argument(
        "--data",
        type=data_set,
        metavar="NAME",
        help=f"{what}: {', '.join(DATASETS)} (default: the one whose classes the network has)",
    )
    verb.add_argument(
        "--root",
        type=Path,
        metavar="FOLDER",
        help="its folder (default: $CITYSCAPES_ROOT, $CAMVID_ROOT, ...)",
    )
    verb.add_argument(
        "--split", default=split, metavar="NAME", help=f"its split: train, val or test (default: {split})"
    )


def add_matrix(verb: Parser, first: str, **kwargs) -> None:
    """FILE, --key and --picture; `first` says which matrix is taken without --key."""
    verb.add_argument(
        "file",
        type=Path,
        help="a run folder, or a file that confseg evaluate --out or confseg confusion --out wrote",
        **kwargs,
    )
    verb.add_argument("--key", metavar="NAME", help=f"which matrix of the file (default: {first})")
    verb.add_argument("--picture", type=png, metavar="FILE.png", help="draw it as a picture")


def add_classes(verb: Parser, when: str) -> None:
    """--data and --classes, for a matrix or label files; `when` says when one of them is needed."""
    verb.add_argument(
        "--data",
        type=data_set,
        metavar="NAME",
        help=f"the data set whose classes they are: {', '.join(DATASETS)}; {when}",
    )
    verb.add_argument(
        "--classes",
        type=Path,
        metavar="FILE",
        help="instead of --data: your own list of classes, classes.csv or .yaml",
    )


def png(text: str) -> Path:
    """A file whose name ends in .png."""
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .png")
    return Path(text)
