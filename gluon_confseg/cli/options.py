"""What the arguments of several verbs are made of. Imports nothing heavy: `confseg --help` answers at once."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from gluon_confseg.errors import did_you_mean

# names that live in modules too heavy for --help; a test holds them to `fusion`, `datasets` and `labels`
RULES = ("subnet0", "sum", "product", "residual_product", "conditional", "learned")
DATASETS = ("cityscapes", "voc", "camvid", "custom")
LABEL_SPACES = ("cityscapes", "voc", "camvid")


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations, and says which verb or option a misspelt one is nearest to."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})
        self._verbs = None

    def add_verbs(self):
        """Sub-commands; the name of the one that was given becomes `verb`."""
        self._verbs = self.add_subparsers(dest="verb", metavar="VERB", required=True)
        return self._verbs

    def parse_known_args(self, args=None, namespace=None):
        """As its base's, which says of a misspelt option at most that another one is missing."""
        words = sys.argv[1:] if args is None else args
        self._check_names(words[: words.index("--")] if "--" in words else words)
        return super().parse_known_args(words, namespace)

    def _check_names(self, words: list) -> None:
        known = self._option_string_actions  # argument groups add to it as well
        for word in words:
            if self._verbs and not word.startswith("-"):
                if word not in self._verbs.choices:
                    self.error(f"there is no verb {word}{_instead(word, self._verbs.choices)}")
                return  # what comes after it is the verb's
            name = word.split("=")[0]
            if re.fullmatch(r"--?[a-zA-Z]\S*", name) and name not in known:
                self.error(
                    f"there is no option {name}{did_you_mean(name, known) or '; --help lists those there are'}"
                )


def one_of(names, also: dict | None = None) -> Callable[[str], str]:
    """A type for `add_argument`: one of these names; `also`: other words for some of them."""

    def choose(word: str) -> str:
        name = (also or {}).get(word, word)
        if name not in names:
            raise argparse.ArgumentTypeError(f"there is no {word!r}{_instead(word, names)}")
        return name

    return choose


def _instead(word: str, names) -> str:
    return did_you_mean(word, names) or f"; choose one of {', '.join(names)}"


def add_checkpoint(verb: Parser, **kwargs) -> None:
    """CHECKPOINT, and --rule."""
    verb.add_argument(
        "checkpoint", type=Path, help="a finished phase's network, RUN/checkpoints/PHASE.npz", **kwargs
    )
    verb.add_argument(
        "--rule",
        type=one_of(RULES),
        metavar="RULE",
        help=f"how subnets are fused: {', '.join(RULES)} (default: as the network was trained for)",
    )


def add_data(verb: Parser, split: str, what: str) -> None:
    """--data, --root and --split; `split` is the default, `what` says what the data are for."""
    verb.add_argument(
        "--data",
        type=data_set,
        metavar="NAME",
        help=f"{what}: {', '.join(DATASETS)} (default: the one whose classes the network has)",
    )
    verb.add_argument("--root", type=Path, help="its folder (default: $CITYSCAPES_ROOT, $VOC_ROOT, ...)")
    verb.add_argument("--split", default=split, help=f"train, val or test (default: {split})")


def add_matrix(verb: Parser, first: str, **kwargs) -> None:
    """FILE, --key and --picture; `first` says which matrix is taken without --key."""
    verb.add_argument(
        "file",
        type=Path,
        help="confusion.npz of a run, of `evaluate` or of `confusion --out`; a run folder will do",
        **kwargs,
    )
    verb.add_argument("--key", help=f"which matrix of the file (default: {first})")
    verb.add_argument("--picture", type=png, metavar="FILE.png", help="draw it")


def add_classes(verb: Parser, when: str) -> None:
    """--data, for a matrix or label files; `when` says when it is needed."""
    verb.add_argument(
        "--data",
        type=one_of(LABEL_SPACES),
        metavar="NAME",
        help=f"whose classes they are, of {', '.join(LABEL_SPACES)}; {when}",
    )


def data_set(word: str) -> str:
    """A data set's name; "own" is another for "custom"."""
    return one_of(DATASETS, also={"own": "custom"})(word)


def count(text: str) -> int:
    """A whole number from 0 on."""
    return number(text, int, 0, 10**6, "a whole number from 0 on")


def positive(text: str) -> int:
    """A whole number from 1 on."""
    return number(text, int, 1, 10**6, "a whole number from 1 on")


def number(text: str, kind: type, least: float, most: float, wanted: str):
    """A number of a kind, int or float, within bounds; `wanted` says what it must be."""
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value


def png(text: str) -> Path:
    """A file whose name ends in .png."""
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .png")
    return Path(text)
