"""`confseg predict`: pictures to class ids, and to colours over the picture."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gluon_confseg.cli import networks, options, views, writable
from gluon_confseg.cli.output import Output
from gluon_confseg.errors import DatasetError

SUMMARY = "Segment pictures: write class ids, and the classes' colours over the picture, as PNGs."
EXAMPLES = (
    ("predict RUN/checkpoints/subnets_ce.npz a.png b.jpg --out segmented", "by a network of a run"),
    ("predict demo a.png --out segmented", "by the network that ships with the package"),
)
SHOWN = 0.01  # classes with a smaller share of a picture are not listed


def add_arguments(parser) -> None:
    """A checkpoint, pictures, and how they are looked at."""
    options.add_checkpoint(parser)
    parser.add_argument("images", type=Path, nargs="+", metavar="image", help="PNG or JPEG files")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="where the folders ids/ and overlay/ are written",
    )
    views.add_arguments(parser)


def run(arguments) -> Output:
    """Segment every picture that can be read; OUT/ids/NAME.png and OUT/overlay/NAME.png each."""
    from gluon_confseg.datasets.pairing import listed

    paths, first = arguments.images, {}
    if not any(path.is_file() for path in paths):
        missing = [f"{path}: is {'a folder' if path.is_dir() else 'not there'}" for path in paths]
        raise DatasetError(f"{listed(missing)}; give the files of pictures, such as FOLDER/*.png")
    for path in paths:
        if first.setdefault(path.stem, path) is not path:
            raise DatasetError(
                f"{path}: would get the same file as {first[path.stem]}; segment them into two folders"
            )
    inference = views.inference(arguments)
    for kind in ("ids", "overlay"):
        writable.folder(arguments.out / kind)
    loaded = networks.load(arguments.checkpoint, arguments.rule)

    from gluon_confseg import files
    from gluon_confseg.cli import folders, segmenting
    from gluon_confseg.datasets import pictures
    from gluon_confseg.progress import Progress

    segment, done, failed = segmenting.segmenter(loaded, inference), [], []
    with Progress("prediction", len(paths), "image") as bar:
        for path in paths:
            try:
                photograph = pictures.read(path)
            except DatasetError as error:
                failed.append({"image": str(path), "reason": str(error)})
            else:
                classes = segment(photograph.pixels)
                done.append(segmenting.write(arguments.out, path, photograph, classes, loaded.labels))
            bar.update(1)
    if done:  # `confseg confusion` then knows what the ids are
        said = {"ids": folders.TRAIN, "classes": list(loaded.labels.classes)}
        files.write_json(arguments.out / "ids" / folders.ABOUT, said)
    about = {"network": networks.record(loaded), "inference": dataclasses.asdict(inference)}
    record = {**about, "classes": list(loaded.labels.classes), "images": done, "failures": failed}
    failure = None
    if failed:
        reasons = listed([each["reason"] for each in failed])
        failure = f"{len(failed)} of {len(paths)} pictures can't be read and were left out: {reasons}"
    return Output(_text(loaded, inference, done, failed), record, failure)


def _text(loaded, inference, done: list, failed: list) -> str:
    names = loaded.labels.classes
    lines = [f"Network: {networks.describe(loaded)}; {inference.describe()}."]
    for image in done:
        most = [(share, k) for k, share in enumerate(image["shares"]) if share >= SHOWN]
        listing = ", ".join(
            f"{names[k]} {100 * share:.0f} %" for share, k in sorted(most, key=lambda s: -s[0])
        )
        lines.append(f"{image['image']} ({image['width']} x {image['height']}): {listing}")
        lines.append(f"  {image['ids']}  {image['overlay']}")
        lines += [f"  Note: {note}." for note in image["notes"]]
    if len(failed) > 5:  # else the failure names all of them
        lines += [f"Not read: {each['reason']}" for each in failed]
    ends = f"0 is {names[0]}, {len(names) - 1} is {names[-1]}"
    return "\n".join([*lines, f"ids/ holds train ids of {loaded.labels.title} ({ends})."])
