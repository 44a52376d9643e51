"""`confseg submit`: an archive for a benchmark's test server, written and checked; or another one's checked."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from gluon_confseg import trained
from gluon_confseg.cli import data, options, views, writable
from gluon_confseg.cli.output import Output
from gluon_confseg.errors import DatasetError

if TYPE_CHECKING:
    from gluon_confseg.submission import servers

SUMMARY = (
    "Write the archive of predictions that the test server of Cityscapes or PASCAL VOC expects, or check one."
)
EXAMPLES = (
    ("submit RUN/checkpoints/subnets_ce.npz --root CITYSCAPES --out ours.zip", "write and check an archive"),
    ("submit --check ours.zip --data cityscapes --root CITYSCAPES", "check an archive of any program"),
)


def add_arguments(parser) -> None:
    """A checkpoint and an archive to write, or one to check."""
    options.add_checkpoint(parser, nargs="?")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="ARCHIVE",
        help="the archive to write: .zip for Cityscapes, .tgz for PASCAL VOC",
    )
    parser.add_argument("--check", type=Path, metavar="ARCHIVE", help="check this archive, and write nothing")
    options.add_data(parser, "test", "the benchmark")
    parser.add_argument(
        "--names",
        type=Path,
        metavar="LIST",
        help="with --check, instead of --root: a file with the name of an image on each line",
    )
    views.add_arguments(parser)


def goes_on(arguments) -> bool:
    """Predictions are kept, and checking starts again."""
    return arguments.check is None


def run(arguments) -> Output:
    """Write an archive with --out, or check one with --check."""
    if (arguments.checkpoint is None) == (arguments.check is None):
        arguments.usage("give either a checkpoint and --out, or --check ARCHIVE")
    if (arguments.out is None) != (arguments.checkpoint is None):
        arguments.usage("a checkpoint goes with --out, the archive that is written")
    if arguments.check and not arguments.data:
        arguments.usage("--check needs --data, the benchmark whose server the archive is for")
    given = [
        f"--{name}" for name in ("rule", *views.OPTIONS) if getattr(arguments, name) not in (None, False)
    ]
    if arguments.check and given:
        arguments.usage(f"--check runs no network: leave out {', '.join(given)}")
    if arguments.names and (arguments.checkpoint or arguments.root):
        arguments.usage("--names goes with --check, in place of --root")
    return _check(arguments) if arguments.check else _write(arguments)


def _write(arguments) -> Output:
    writable.file(arguments.out)
    inference = views.inference(arguments)
    loaded = trained.load(arguments.checkpoint, arguments.rule)

    from gluon_confseg import submission
    from gluon_confseg.cli import evaluation
    from gluon_confseg.progress import Progress
    from gluon_confseg.submission import archives

    server = submission.server_of(loaded.labels)
    archives.check_suffix(arguments.out, server)
    dataset = data.of_network(arguments, loaded.labels, labelled=False)
    expected = submission.of_dataset(dataset)
    folder = writable.folder(arguments.out.with_name(f"{arguments.out.name}.predictions"))
    made_with = {
        "checkpoint": hashlib.sha256(arguments.checkpoint.read_bytes()).hexdigest(),
        "rule": loaded.rule,
        "inference": dataclasses.asdict(inference),
        "images": f"{server.labels.title}, {dataset.split}",
    }
    predictions = submission.Predictions(folder, server, made_with)
    missing = predictions.missing(expected)
    kept = len(expected) - len(missing)
    for name, classes in evaluation.predict(loaded, dataset, inference, missing):
        predictions.add(name, classes)
    with Progress("archive", len(expected), "file") as bar:
        submission.write(arguments.out, predictions, expected, bar.update)
    record = _record(server, arguments.out, dataset.split, expected, dataset.drawn)
    lines = [
        f"Data: {dataset.description}",
        f"Network: {trained.describe(loaded)}; {inference.describe()}.",
        f"Archive: {arguments.out}, {len(expected)} files, checked: each image once, its size, its values.",
        f"Predictions: {folder}{f' ({kept} were there before)' if kept else ''}; no longer needed.",
        *(record["notes"] or [f"Upload it at {server.url}"]),
    ]
    about = {"network": trained.record(loaded), "inference": made_with["inference"], "kept": kept}
    return Output("\n".join(lines), {**record, **about})


def _check(arguments) -> Output:
    from gluon_confseg import submission
    from gluon_confseg.labels import LABEL_SPACES
    from gluon_confseg.progress import Progress

    if arguments.data not in LABEL_SPACES:
        raise DatasetError("your own data have no test server, so there is no archive of them to check")
    server = submission.server_of(LABEL_SPACES[arguments.data])
    drawn = False
    if arguments.names:
        expected = submission.of_list(arguments.names, server)
    elif arguments.root or os.environ.get(data.VARIABLES[arguments.data]):
        dataset = data.split_of(arguments.data, arguments.root, arguments.split, labelled=False)
        expected, drawn = submission.of_dataset(dataset), dataset.drawn
    else:
        raise DatasetError(
            f"it is not known which images {arguments.check} must hold; give --root, the folder of the data set, or "
            f"--names, a file with one image on each line"
        )
    with Progress("checking", len(expected), "file") as bar:
        submission.check(arguments.check, server, expected, bar.update)
    record = _record(server, arguments.check, arguments.split, expected, drawn)
    lines = [f"{arguments.check}: {len(expected)} files, nothing wrong with them."]
    if not all(expected.values()):
        lines.append("Sizes were not checked: give --root, the folder of the images.")
    return Output("\n".join([*lines, *record["notes"]]), record)


def _record(server: servers.Server, path: Path, split: str, expected: dict, drawn: bool) -> dict:
    """An archive for programs; `notes` say why the server would not take it all the same."""
    notes = []
    if split != "test":
        notes.append(f"The server takes the test split; this is {split}.")
    if drawn:
        notes.append(f"These images were drawn; the server knows those of {server.labels.title} alone.")
    wanted = server.counts.get(split)
    if wanted not in (None, len(expected)):
        notes.append(
            f"It is not complete: {split} has {wanted:,} images as published, here are {len(expected):,}."
        )
    others = {size for size in expected.values() if size} - {server.size}
    if server.size and others:
        height, width = sorted(others)[0]
        notes.append(
            f"Images are {width} x {height} pixels; the server's {server.size[1]} x {server.size[0]}."
        )
    about = {"server": server.labels.name, "url": server.url, "split": split}
    return {**about, "archive": str(path), "files": len(expected), "ready": not notes, "notes": notes}
