"""A trained network by its file or run folder, with a sentence for all that is none, and in words."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from gluon_confseg import demo, runtime
from gluon_confseg.errors import CheckpointError, RunError

if TYPE_CHECKING:
    from gluon_confseg.network import TrainedNetwork


def chosen(path: Path, rule: str | None) -> tuple:
    """(checkpoint, rule) as they are; of a finished run's folder those of the cell with the highest mIoU.

    Raises RunError for a run whose results name no network.
    """
    results = path / "results.json"
    if not path.is_dir() or not results.exists():
        return path, rule  # `load` says what is wrong with other folders

    from gluon_confseg.run_folder import read_json

    try:
        best = max(read_json(results)["cells"], key=lambda cell: cell["mean_iou"])
        return path / best["checkpoint"], rule or best["rule"]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{results}: names no network; give the file of a checkpoint") from error


def load(path: Path, rule: str | None) -> TrainedNetwork:
    """The network of a checkpoint, on the default device; rule: None takes the one it was trained for.

    Raises CheckpointError for a file that is none, RunError for a rule that has nothing to fuse.
    """
    if path == demo.NETWORK and not path.exists():
        raise CheckpointError(demo.MISSING)
    if path.is_dir():
        found = sorted(path.glob("checkpoints/*.npz")) or sorted(path.glob("*.npz"))
        phases = [str(file) for file in found if "." not in file.stem]
        hint = f"one of its checkpoints: {', '.join(phases)}" if phases else "the file of a checkpoint"
        raise CheckpointError(f"{path}: is a folder; give {hint}")

    from gluon_confseg import engine, network
    from gluon_confseg.fusion import LEARNED

    try:
        loaded = network.load(path, runtime.default_context())
    except CheckpointError:
        if _holds_matrices(path):
            raise CheckpointError(
                f"{path}: holds confusion matrices, no network; see them with `confseg confusion {path}`, or give "
                "the checkpoint of a finished phase, RUN/checkpoints/PHASE.npz"
            ) from None
        raise
    if loaded.network.num_classes != loaded.labels.num_classes:
        raise CheckpointError(
            f"{path}: its network has {loaded.network.num_classes} classes, {loaded.labels.title} has "
            f"{loaded.labels.num_classes}; take a checkpoint of a network for these classes"
        )
    if rule is not None and rule != "subnet0" and not loaded.network.groups:
        raise RunError(
            f"{path}: holds subnet 0 alone, and rule {rule} has nothing to fuse; leave out --rule, or take "
            "the checkpoint of a phase that trains subnets"
        )
    if rule == LEARNED and loaded.network.learned_fusion is None:
        raise RunError(
            f"{path}: holds no learned fusion; leave out --rule, or take the checkpoint of a phase that trains one"
        )
    loaded.rule = rule or loaded.rule
    engine.hybridize_parts(loaded.network)
    return loaded


def _holds_matrices(path: Path) -> bool:
    """Whether a file holds squares of counts, as confusion matrices are."""
    from gluon_confseg.run_folder import read_matrices

    with contextlib.suppress(RunError):
        squares = read_matrices(path, only=_is_square).values()
        return any((array >= 0).all() and (array == array.round()).all() for array in squares)
    return False


def _is_square(name: str, entry) -> bool:
    square = len(entry.shape) == 2 and entry.shape[0] == entry.shape[1] > 0
    return square and entry.dtype.kind in "iuf"


def describe(loaded: TrainedNetwork) -> str:
    """One sentence on the network and its rule."""
    return in_words(loaded.network.settings, loaded.rule)


def in_words(settings: dict, rule: str) -> str:
    """The same of a network's settings, which exported files hold too."""
    further = len(settings["groups"])
    subnets = f"subnets 0-{further} ({settings['subnets']})" if further else "subnet 0"
    if rule == "subnet0" and further:
        subnets = f"subnet 0 of 0-{further}"
    fused = "" if rule == "subnet0" else f", fused by rule {rule}"
    return f"{settings['encoder']}, output stride {settings['output_stride']}, {subnets}{fused}"


def record(loaded: TrainedNetwork) -> dict:
    """The same for programs."""
    return recorded(loaded.network.settings, loaded.rule)


def recorded(settings: dict, rule: str) -> dict:
    """The same of a network's settings."""
    kept = ("encoder", "output_stride", "subnets", "groups")
    return {**{name: settings[name] for name in kept}, "rule": rule}
