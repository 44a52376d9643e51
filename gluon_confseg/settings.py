"""The settings of a training: their names, the values that they take, and where they would have no effect.

`recipe.Recipe` holds them as complete values; `confseg train --set NAME=VALUE` changes them by name.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable

from . import losses
from .encoders import NAMES as ENCODERS
from .encoders import OUTPUT_STRIDES
from .encoders.norms import NAMES as NORMS
from .errors import RunError, did_you_mean
from .fusion import RULES
from .network import SUBNETS
from .precision import NAMES as PRECISIONS
from .subnets import CONTEXTS, DETAILS, KINDS, STRIDES

FROM_MATRIX = ("discover", "random", "whole", "one")  # groups that come from a training matrix
GROUPS = ("paper", *FROM_MATRIX)
SCHEDULES = ("linear", "poly")
BIASES = ("same", "twice")
AVERAGES = ("image", "batch")
CROPS = ("random", "meeting")
HEAD_FIELDS = ("channels", "depth", "dilation", "stages", "kind", "context", "rates", "kernel")
SUBNET_HEAD_FIELDS = (*HEAD_FIELDS, "output_stride", "detail")


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting.

    wanted   the values that it takes, in words, for error messages
    read     turns text or a Python value into the setting's value; raises ValueError or TypeError for a wrong one
    of       "phase", or "recipe" if all phases share it
    idle     tells why it would have no effect in a phase (or recipe); "" if it has one
    """

    name: str
    wanted: str
    read: Callable
    help: str
    of: str = "phase"
    idle: Callable = lambda where: ""


def whole(least: int, none: bool = False) -> Callable:
    """Reads a whole number that is at least `least`; with `none`, the word none as well."""

    def read(value):
        if none and value in (None, "none"):
            return None
        if isinstance(value, (bool, float)) or int(value) < least:
            raise ValueError
        return int(value)

    return read


def number(least: float, most: float = math.inf, above: bool = False) -> Callable:
    """Reads a finite number from `least` to `most`; with `above`, it must be above `least`."""

    def read(value):
        if isinstance(value, bool) or not least <= float(value) <= most or math.isinf(float(value)):
            raise ValueError
        if above and float(value) <= least:
            raise ValueError
        return float(value)

    return read


def one_of(*choices) -> Callable:
    """Reads one of these words or numbers."""

    def read(value):
        return {str(choice): choice for choice in choices}[str(value)]

    return read


def several(read_one: Callable, count: int | None = None) -> Callable:
    """Reads values separated by commas, or numbers separated by `x`; exactly `count` of them if it is given."""

    def read(value):
        parts = (
            [part for part in re.split(r"[,x]", value) if part.strip()] if isinstance(value, str) else value
        )
        found = tuple(read_one(part.strip() if isinstance(part, str) else part) for part in parts)
        if not found or (count is not None and len(found) != count):
            raise ValueError
        return found

    return read


def optional(read: Callable) -> Callable:
    """Reads the word none, or a value for `read`."""
    return lambda value: None if value in (None, "none") else read(value)


def text(value) -> str:
    """Reads any text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def flag(value) -> bool:
    """Reads yes or no."""
    if isinstance(value, bool):
        return value
    return {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}[value.lower()]


def scale_range(value) -> tuple:
    """Reads a range of scales, the smaller first."""
    low, high = several(number(0, above=True), 2)(value)
    if low > high:
        raise ValueError
    return low, high


def groups(value) -> str:
    """Reads one of GROUPS, "random N", or groups of classes: "car,truck,bus; person,rider"."""
    kind, _, rest = text(value).partition(" ")
    if kind in GROUPS:
        if rest and not (kind == "random" and rest.isdigit()):
            raise ValueError
        return value
    parts = [[name for name in group.split(",") if name.strip()] for group in value.split(";")]
    if not parts or min(map(len, parts)) < 2:
        raise ValueError
    return value


def scheme(value) -> str:
    """Reads one of `losses.SCHEMES`, or "shuffled" or "shuffled N"."""
    kind, _, seed = text(value).partition(" ")
    if value in losses.SCHEMES or (kind == "shuffled" and (not seed or seed.isdigit())):
        return value
    raise ValueError


def others_weight(value):
    """Reads a number from 0, or the word balanced."""
    return value if value == "balanced" else number(0)(value)


# ---- where a setting would have no effect


def _not_trained(phase) -> str:
    return "it has no epochs" if phase.epochs == 0 else ""


def _fixed_by_start(phase) -> str:
    return f"it goes on with the network of phase {phase.start}" if phase.start else ""


def _not_confusion(phase) -> str:
    return "" if phase.loss == "confusion_ce" else f"its loss is {phase.loss}, which has none"


def _no_subnets(phase) -> str:
    return "" if phase.part.trains_subnets else f"it trains {phase.trains}, not subnets"


def _max_groups(phase) -> str:
    return _no_subnets(phase) or ("" if phase.discovers else f"its groups are given ({phase.groups})")


def _matrix(phase) -> str:
    if phase.loss == "confusion_ce" or phase.discovers or phase.weighs_others:
        return ""
    return "neither its loss nor its groups come from a training matrix"


def _power(phase) -> str:
    return _not_trained(phase) or ("" if phase.schedule == "poly" else f"its schedule is {phase.schedule}")


def _pretrained(phase) -> str:
    return _fixed_by_start(phase) or ("it starts from a file of weights" if phase.weights else "")


def _average(phase) -> str:
    return _not_trained(phase) or (
        "" if phase.loss in ("ce", "confusion_ce") else f"its loss is {phase.loss}, which has its own"
    )


def _crops(phase) -> str:
    return _not_trained(phase) or _no_subnets(phase)


def _others_weight(phase) -> str:
    return _crops(phase) or _average(phase)


def _not_drawn(recipe) -> str:
    return "" if recipe.draw else "the data are not drawn"


def _no_window(recipe) -> str:
    return "" if recipe.evaluation.window else "evaluation has no window"


def _phase_settings() -> list:
    trained = {"idle": _not_trained}
    confusion = {"idle": lambda phase: _not_trained(phase) or _not_confusion(phase)}
    start, subnets = {"idle": _fixed_by_start}, {"idle": _no_subnets}
    rates = number(0, above=True)
    return [
        Setting("encoder", f"one of {', '.join(ENCODERS)}", one_of(*ENCODERS), "the backbone", **start),
        Setting("output_stride", "8, 16 or 32", one_of(*OUTPUT_STRIDES), "pixels per feature", **start),
        Setting("last_stage", "3 or 4", one_of(3, 4), "the encoder's last stage", **start),
        Setting("norm", f"one of {', '.join(NORMS)}", one_of(*NORMS), "what batch norms do in training", **start),
        Setting("pretrained", "yes or no", flag, "ImageNet weights for the encoder", idle=_pretrained),
        Setting("weights", "a file, FILE:PREFIX, or none", optional(text), "weights that the phase starts from"),
        Setting("groups", f"one of {', '.join(GROUPS)}, or groups of classes such as car,truck;person,rider", groups,
                "the groups that get a subnet", **subnets),
        Setting("max_groups", "a whole number from 1, or none", whole(1, none=True), "at most so many groups",
                idle=_max_groups),
        Setting("subnets", f"one of {', '.join(SUBNETS)}", one_of(*SUBNETS), "kind of the subnets", **subnets),
        Setting("rule", f"one of {', '.join(RULES)}", one_of(*RULES), "fusion rule", **subnets),
        Setting("loss", f"one of {', '.join(losses.NAMES)}", one_of(*losses.NAMES), "loss", **trained),
        Setting("scheme", f"one of {', '.join(losses.SCHEMES)}, shuffled, or shuffled N", scheme,
                "how the weights C come from the training matrix", **confusion),
        Setting("penalty", "a number from 0", number(0), "lambda of Section 3.2", **confusion),
        Setting("average", "image or batch", one_of(*AVERAGES), "which pixels the loss is the mean of", idle=_average),
        Setting("others_weight", "a number from 0, or balanced", others_weight,
                "what a pixel of others counts beside one of the group's classes; balanced: together as much as those",
                idle=_others_weight),
        Setting("matrix", "the name of an earlier phase", text,
                "the phase whose training matrix gives weights and groups", idle=_matrix),
        Setting("epochs", "a whole number from 0", whole(0), "passes over the training images"),
        Setting("learning_rate", "a number above 0", rates, "at the beginning", **trained),
        Setting("warm_up", "a whole number from 0", whole(0), "steps until the full learning rate", **trained),
        Setting("schedule", "linear or poly", one_of(*SCHEDULES), "how the learning rate falls to 0", **trained),
        Setting("power", "a number above 0", rates, "of the poly schedule", idle=_power),
        Setting("momentum", "a number from 0 to below 1", number(0, 0.999999), "of SGD", **trained),
        Setting("weight_decay", "a number from 0", number(0), "of SGD", **trained),
        Setting("biases", "same, or twice (the rate, and no decay)", one_of(*BIASES),
                "how biases, and the norms' beta, are trained", **trained),
        Setting("crop", "height,width in pixels from 1", several(whole(1), 2), "of training images", **trained),
        Setting("scale", "two numbers above 0, the smaller first", scale_range, "random scale", **trained),
        Setting("max_share", "a number above 0 to 1", number(0, 1, above=True),
                "largest share that one class may have of a crop, where that can be had", **trained),
        Setting("crops", f"one of {', '.join(CROPS)}", one_of(*CROPS),
                "where a crop lies: anywhere, or where two classes of a group meet, if that can be had", idle=_crops),
        Setting("jitter", "yes or no", flag, "vary the colours", **trained),
        Setting("batch_size", "a whole number from 1", whole(1), "images of a step", **trained),
        Setting("precision", f"one of {', '.join(PRECISIONS)}", one_of(*PRECISIONS),
                "of the convolutions in training; float16 needs a GPU, bfloat16 a CPU with AVX-512", **trained),
    ]  # fmt: skip


def _head_settings() -> list:
    readers = {
        "channels": ("a whole number from 1", whole(1)),
        "depth": ("a whole number from 1", whole(1)),
        "dilation": ("a whole number from 1", whole(1)),
        "stages": ("stages of the encoder, such as 2,3,4", several(one_of(1, 2, 3, 4))),
        "kind": (f"one of {', '.join(KINDS)}", one_of(*KINDS)),
        "context": (f"none, or one of {', '.join(CONTEXTS)}", optional(one_of(*CONTEXTS))),
        "rates": ("dilations, such as 6,12,18", several(whole(1))),
        "kernel": ("an odd whole number from 1", whole(1)),
        "output_stride": (
            f"one of {', '.join(map(str, STRIDES))}, or none (the network's)",
            optional(one_of(*STRIDES)),
        ),
        "detail": (f"one of the stages {', '.join(map(str, DETAILS))}, or none", optional(one_of(*DETAILS))),
    }
    return [
        Setting(f"{head}.{field}", *readers[field], f"of {what}", idle=idle)
        for head, what, idle, fields in (
            ("head", "subnet 0", _fixed_by_start, HEAD_FIELDS),
            (
                "subnet_head",
                "every further subnet; subnet_head.2 is the second group's",
                _no_subnets,
                SUBNET_HEAD_FIELDS,
            ),
        )
        for field in fields
    ]


def _recipe_settings() -> list:
    recipe = {"of": "recipe"}
    drawn = {"of": "recipe", "idle": _not_drawn}
    return [
        Setting("seed", "a whole number from 0", whole(0), "of initial values, order and crops", **recipe),
        Setting("train_split", "the name of a split", text, "the split to train on", **recipe),
        Setting("matrix_images", "a whole number from 1, or none", whole(1, none=True),
                "training images that a training matrix counts; none: all", **recipe),
        Setting("validate_every", "a whole number from 0", whole(0),
                "epochs between validations; 0: only when a phase ends", **recipe),
        Setting("other_rules", f"some of {', '.join(RULES)}, or none",
                lambda value: () if value in ("none", ()) else several(one_of(*RULES))(value),
                "fusion rules shown beside the recipe's", **recipe),
        Setting("evaluation.flip", "yes or no", flag, "average with the mirrored image", **recipe),
        Setting("evaluation.scales", "numbers above 0, such as 0.75,1,1.25", several(number(0, above=True)),
                "scales that are averaged", **recipe),
        Setting("evaluation.window", "height,width in pixels, or none", optional(several(whole(1), 2)),
                "windows that slide over the image", **recipe),
        Setting("evaluation.overlap", "a number from 0 to below 1", number(0, 0.999999),
                "of windows", of="recipe", idle=_no_window),
        Setting("draw.train", "a whole number from 1", whole(1), "training scenes to draw", **drawn),
        Setting("draw.val", "a whole number from 1", whole(1), "validation scenes to draw", **drawn),
        Setting("draw.size", "width,height in pixels", several(whole(16), 2), "of a drawn scene", **drawn),
    ]  # fmt: skip


SETTINGS = {s.name: s for s in (*_phase_settings(), *_head_settings(), *_recipe_settings())}
_OF_A_GROUP = re.compile(r"subnet_head\.(\d+)\.(\w+)")


def find(name: str, typed: str | None = None) -> tuple:
    """(the Setting with this name, the number of the group that it is for or None).

    typed   what the user typed, for the error message
    Raises RunError for an unknown name, with the nearest name.
    """
    of_group = _OF_A_GROUP.fullmatch(name)
    plain = f"subnet_head.{of_group[2]}" if of_group else name
    if plain not in SETTINGS or (of_group and int(of_group[1]) < 1):
        raise RunError(
            f"{typed or name}: there is no setting {name!r}{did_you_mean(name, SETTINGS)}; "
            "`confseg train RECIPE --show` lists those of a recipe"
        )
    return SETTINGS[plain], int(of_group[1]) if of_group else None


def value_of(setting: Setting, value, typed: str):
    """A checked value of a setting. The RunError for a wrong value says which values it takes."""
    try:
        return setting.read(value)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise RunError(f"{typed}: {setting.name} is {setting.wanted}, not {value!r}") from None
