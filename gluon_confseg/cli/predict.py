"""`confseg predict`: pictures and videos to class ids, colours, probabilities and maps of what is confused."""

from __future__ import annotations

import argparse
import contextlib
import re
from pathlib import Path
from typing import NamedTuple

from gluon_confseg.cli import options, views, writable
from gluon_confseg.cli.output import Output
from gluon_confseg.errors import RunError, class_of

SUMMARY = (
    "Segment pictures, folders or videos: write class ids, colours, probabilities or confusion maps as PNGs."
)
EXAMPLES = (
    ("predict RUN/checkpoints/subnets_ce.npz a.png b.jpg --out segmented", "by a network of a run"),
    (
        "predict demo PHOTOS --out segmented --memory 2G",
        "a folder, by the network that ships with the package",
    ),
    ("predict net.onnx film.mp4 --out film --write ids overlay confusion", "a video, by an exported network"),
)
SHOWN = 0.01  # classes with a smaller share of a picture are not listed
LISTED = 40  # pictures that are listed one by one
# names that live in a module too heavy for --help; a test holds them to `segmenting.KINDS`
KINDS = ("ids", "raw", "colours", "overlay", "panels", "probabilities", "confusion")
USUAL = ("ids", "overlay")
CLOSE = 0.2
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?\Z", re.IGNORECASE)


class Job(NamedTuple):
    """A picture on its way. `photograph` is None, and `reason` says why, where there is nothing to segment."""

    source: object
    name: str
    photograph: object = None
    cut: list | None = None
    reason: str = ""


def add_arguments(parser) -> None:
    """A network, pictures, what is written, how much memory, and how pictures are looked at."""
    options.add_checkpoint(parser, exported=True)
    parser.add_argument(
        "images",
        nargs="*",
        metavar="image",
        help="PNG or JPEG files, folders, patterns in quotes such as 'PHOTOS/**/*.jpg', videos, @FILE for a list, or - "
        "for a picture on standard input",
    )
    parser.add_argument(
        "--list",
        type=Path,
        action="append",
        metavar="FILE",
        help="a text file with one of these on each line; may be repeated",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="where a folder of each kind is written, such as ids/ and overlay/",
    )
    parser.add_argument(
        "--write",
        type=kind,
        nargs="+",
        default=[(name, ()) for name in USUAL],
        metavar="KIND",
        help="what is written: ids (train ids), raw (ids of the data set's label files), colours, overlay (colours "
        "over the picture), panels (the picture beside its colours), probabilities:CLASS,CLASS, confusion (where the "
        f"two best classes are of one group and close) (default: {' '.join(USUAL)})",
    )
    parser.add_argument(
        "--close",
        type=options.number(float, 0, 1, "a difference of probabilities from 0 to 1"),
        default=CLOSE,
        metavar="D",
        help=f"confusion: how far apart the two best probabilities may be (default: {CLOSE})",
    )
    parser.add_argument(
        "--memory",
        type=size,
        metavar="SIZE",
        help="how much memory the process may take, such as 2G or 800M; larger pictures are cut into windows (default: "
        "what is free)",
    )
    parser.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave out pictures all of whose files are there already; videos are made again",
    )
    views.add_arguments(parser)


def kind(word: str) -> tuple:
    """("probabilities", (class, ...)) of "probabilities:road,sky"; (name, ()) of the others."""
    name, colon, classes = word.partition(":")
    name = options.one_of(KINDS, also={"colors": "colours", "probability": "probabilities"})(name)
    chosen = tuple(filter(None, (each.strip() for each in classes.split(","))))
    if (name == "probabilities") != bool(chosen):
        wanted = "name the classes" if name == "probabilities" else "only probabilities take classes"
        raise argparse.ArgumentTypeError(f"{word!r}: {wanted}, as in probabilities:road,sky")
    return name, chosen


def size(text: str) -> int:
    """Bytes of "2G", "800M", "1.5g"; a K is 1024."""
    found = _SIZE.match(text.strip())
    if found is None or float(found[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of memory; write 2G or 800M, say")
    return int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))


def run(arguments) -> Output:
    """Segment every picture that can be read; OUT/KIND/NAME.png each."""
    from gluon_confseg.cli import sources

    if not arguments.images and not arguments.list:
        arguments.usage("give pictures, a folder, a pattern, a video, --list FILE, or - for standard input")
    found, notes = sources.find(arguments.images, arguments.list)
    inference = views.inference(arguments)
    kinds = tuple(dict.fromkeys(name for name, _ in arguments.write))
    for each in kinds:
        writable.folder(arguments.out / each)

    from gluon_confseg import files, segmenter
    from gluon_confseg.cli import folders, segmenting

    network = segmenter.open_network(
        arguments.checkpoint, rule=arguments.rule, memory=arguments.memory, inference=inference
    )
    classes = network.labels.classes
    named = [name for _, chosen in arguments.write for name in chosen]
    wanted = segmenting.Written(
        kinds, tuple(dict.fromkeys(class_of(name, classes) for name in named)), arguments.close
    )
    if wanted.chosen or wanted.wants_rivals:
        network.need_probabilities()
    if wanted.wants_rivals and not network.groups:
        raise RunError(
            f"{arguments.checkpoint}: has no groups of confused classes, of which --write confusion is; leave it out, "
            "or give a network with subnets"
        )
    work = _Work(arguments, network, wanted, found)
    work.run()
    if work.done and "ids" in kinds:  # `confseg confusion` then knows what the ids are
        files.write_json(
            arguments.out / "ids" / folders.ABOUT, {"ids": folders.TRAIN, "classes": list(classes)}
        )
    return _output(arguments, network, wanted, work, notes)


class _Work:
    """The pictures, from their files to their results' files.

    done, failed, skipped, videos   what became of them, as JSON holds it
    """

    def __init__(self, arguments, network, wanted, sources: list):
        from gluon_confseg.cli import pipeline

        self._out, self._skip = arguments.out, arguments.skip_existing
        self._network, self._wanted, self._sources = network, wanted, sources
        self.done, self.failed, self.skipped, self.videos = [], [], [], []
        self._room = pipeline.Room(network.room())

    def run(self) -> None:
        from gluon_confseg.cli import pipeline
        from gluon_confseg.cli.videos import Videos
        from gluon_confseg.progress import Progress

        counts = {source: self._frames(source) for source in self._sources if source.is_video}
        total = len(self._sources) - len(counts) + sum(max(1, count) for count, _ in counts.values())
        rates = {str(source.path): rate for source, (_, rate) in counts.items()}
        with Progress("prediction", total, "image") as bar, Videos(self._out, rates) as videos:
            results = pipeline.run(self._jobs(), self._compute, self._write, self._room)
            with contextlib.closing(results):
                for kind, about, frame in results:
                    {"done": self.done, "failed": self.failed, "skipped": self.skipped}[kind].append(about)
                    if kind == "done" and about.get("video"):
                        videos.add(about, frame)
                    bar.update(1)
        self.videos = videos.written
        promised = {source.name: count for source, (count, _) in counts.items()}
        for video in self.videos:
            if video["frames"] < promised[video["name"]]:
                count = promised[video["name"]]
                video["notes"].append(
                    f"its header promises {count} frames, and {video['frames']} could be decoded"
                )

    def _frames(self, source) -> tuple:
        from gluon_confseg.errors import DatasetError

        try:
            return source.about_video()
        except DatasetError:
            return 1, 25.0  # reading it will say why

    def _jobs(self):
        """(number, job) of every picture, in order; each has its room before it is decoded."""
        from gluon_confseg.errors import ConfSegError

        number = 0
        for source in self._sources:
            if source.is_video:
                try:
                    for name, frame in source.frames():
                        number += 1
                        yield number, self._frame(number, source, name, frame)
                        del frame
                except ConfSegError as error:
                    number += 1
                    yield number, Job(source, source.name, reason=str(error))
                continue
            number += 1
            yield number, self._picture(number, source)

    def _picture(self, number: int, source) -> Job:
        from gluon_confseg.errors import ConfSegError

        if self._skip and all(file.is_file() for file in self._files(source.name)):
            return Job(source, source.name)
        try:
            known = source.size()
            if known is not None:
                height, width, each, stored = known
                cut = self._cut(number, height, width, max(each, self._wanted.bytes_of_pixel()), stored)
                return Job(source, source.name, source.read(), cut)
            photograph = source.read()
            cut = self._cut(number, *photograph.pixels.shape[:2], self._wanted.bytes_of_pixel())
            return Job(source, source.name, photograph, cut)
        except ConfSegError as error:
            return Job(source, source.name, reason=_of(source, error))

    def _frame(self, number: int, source, name: str, frame) -> Job:
        from gluon_confseg.datasets.photograph import Photograph

        each = 6 + self._wanted.bytes_of_pixel()  # the decoder's own frame, and the overlay's for the video
        return Job(source, name, Photograph(frame), self._cut(number, *frame.shape[:2], each))

    def _cut(self, number: int, height: int, width: int, each: int, more: int = 0) -> list:
        """The windows of a picture, once there is room for it; RunError where it can't be made."""
        network, held = self._network, height * width * each + more
        if network.must_measure(height, width, held):
            self._room.wait_until_empty()  # else the others would be measured as well
        cut = network.windows(height, width, held)
        self._room.limit = network.room()
        self._room.take(number, held, network.takes(height, width, cut, held))
        return cut

    def _files(self, name: str) -> list:
        targets = self._wanted.files(self._out, name, self._network.labels)
        chosen = targets.pop("probabilities", {})
        return [*targets.values(), *chosen.values()]

    def _compute(self, job: Job):
        from gluon_confseg.errors import RunError
        from gluon_confseg.out_of_memory import is_out_of_memory

        if job.photograph is None:
            return None
        close = self._wanted.close if self._wanted.wants_rivals else None
        try:
            return self._network.planes(job.photograph.pixels, self._wanted.chosen, close, job.cut)
        except Exception as error:
            if isinstance(error, RunError) or not is_out_of_memory(error):
                raise
            height, width = job.photograph.pixels.shape[:2]
            return (
                f"{job.source.path}: there is not enough memory for {width} x {height} pixels at once; give --memory "
                "with less than is free, and it is cut into windows"
            )

    def _write(self, job: Job, planes) -> tuple:
        """(what became of it, about it, the overlay of a video's frame)."""
        from gluon_confseg import drawing
        from gluon_confseg.cli import segmenting

        path = job.source.shown
        if isinstance(planes, str) or job.reason:
            return "failed", {"image": path, "reason": job.reason or planes}, None
        if planes is None:
            return "skipped", {"image": path}, None
        labels = self._network.labels
        about = segmenting.write(self._out, path, job.name, job.photograph, planes, labels, self._wanted)
        if not job.source.is_video:
            return "done", about, None
        about["video"], frame = job.source.name, None
        if "overlay" in self._wanted.kinds:
            frame = drawing.overlay(job.photograph.pixels, planes, labels, slice(0, about["height"]))
        return "done", about, frame


def _of(source, error: Exception) -> str:
    text = str(error)
    return text if text.startswith(source.shown) else f"{source.shown}: {text}"


def _output(arguments, network, wanted, work, notes: list) -> Output:
    import dataclasses

    from gluon_confseg.datasets.pairing import listed

    names, done, failed = network.labels.classes, work.done, work.failed
    record = {
        "network": network.record,
        "inference": dataclasses.asdict(network.inference),
        "memory": network.memory if arguments.memory else None,
        "classes": list(names),
        "images": done,
        "videos": work.videos,
        "skipped": work.skipped,
        "failures": failed,
        "notes": notes,
    }
    lines = [f"Network: {network.title}; {network.inference.describe()}."]
    if wanted.wants_rivals:
        record["close"], record["confused"] = wanted.close, _confused_in_all(done)
    pictures = [about for about in done if "video" not in about]
    for about in pictures if len(pictures) <= LISTED else []:
        lines += _of_picture(about, names, wanted)
    if len(pictures) > LISTED:
        lines.append(f"{len(pictures)} pictures: {_shares(_mean_shares(pictures), names)}")
        noted = [about for about in pictures if about["notes"]]
        lines += [f"  Note: {about['image']}: {note}." for about in noted[:5] for note in about["notes"]]
        lines += [f"  Notes on {len(noted) - 5} more are listed by --json."] if len(noted) > 5 else []
    for video in work.videos:
        frames = [about for about in done if about.get("video") == video["name"]]
        lines.append(f"{video['video']}: {video['frames']} frames: {_shares(_mean_shares(frames), names)}")
        lines += [f"  {video['overlay']}"] if video["overlay"] else []
        lines += [f"  Note: {note}." for note in video["notes"]]
    if wanted.wants_rivals and len(done) > 1:
        lines.append(f"In all: {_confused(record['confused'], wanted)}")
    if work.skipped:
        lines.append(f"{len(work.skipped)} pictures were left out, whose files are all there.")
    cut = sum(about["windows"] > 1 for about in done)
    if cut:
        lines.append(
            f"{cut} pictures did not fit in memory and were cut into overlapping windows, which can change classes "
            "where two windows meet."
        )
    lines += [f"Note: {note}." for note in notes]
    if len(failed) > 5:  # else the failure names all of them
        lines += [f"Not read: {each['reason']}" for each in failed]
    if "ids" in wanted.kinds:
        ends = f"0 is {names[0]}, {len(names) - 1} is {names[-1]}"
        lines.append(f"ids/ holds train ids of {network.labels.title} ({ends}).")
    failure = None
    if failed:
        reasons = listed([each["reason"] for each in failed])
        total = len(done) + len(failed) + len(work.skipped)
        failure = f"{len(failed)} of {total} pictures can't be read and were left out: {reasons}"
        if any("memory" in each["reason"] for each in failed):
            failure = f"{len(failed)} of {total} pictures can't be segmented and were left out: {reasons}"
    return Output("\n".join(lines), record, failure)


def _of_picture(about: dict, names, wanted) -> list:
    lines = [f"{about['image']} ({about['width']} x {about['height']}): {_shares(about['shares'], names)}"]
    written = [about[kind] for kind in wanted.kinds if kind != "probabilities"]
    lines.append("  " + "  ".join([*written, *about.get("probabilities", {}).values()]))
    if wanted.wants_rivals:
        lines.append(f"  {_confused(about['confused'], wanted)}")
    return lines + [f"  Note: {note}." for note in about["notes"]]


def _shares(shares, names) -> str:
    most = sorted(((share, k) for k, share in enumerate(shares) if share >= SHOWN), key=lambda s: -s[0])
    return ", ".join(f"{names[k]} {100 * share:.0f} %" for share, k in most)


def _mean_shares(done: list) -> list:
    pixels = [about["width"] * about["height"] for about in done]
    return [
        sum(count * about["shares"][k] for count, about in zip(pixels, done)) / max(1, sum(pixels))
        for k in range(len(done[0]["shares"]) if done else 0)
    ]


def _confused_in_all(done: list) -> dict:
    """What `segmenting.confused` says of one picture, of all of them by their pixels."""
    pixels, pairs = sum(about["width"] * about["height"] for about in done), {}
    for about in done:
        weight = about["width"] * about["height"] / pixels
        for pair in about["confused"]["pairs"]:
            key = tuple(pair["classes"])
            pairs[key] = pairs.get(key, 0.0) + weight * pair["share"]
    found = [
        {"classes": list(key), "share": share} for key, share in sorted(pairs.items(), key=lambda p: -p[1])
    ]
    return {"share": sum(pairs.values()), "pairs": found}


def _confused(found: dict, wanted) -> str:
    pairs = ", ".join(
        f"{' and '.join(pair['classes'])} {100 * pair['share']:.1f} %" for pair in found["pairs"][:5]
    )
    said = f"{100 * found['share']:.1f} % of the pixels are between two classes of a group"
    return f"{said} (by less than {wanted.close:g}){': ' if pairs else ''}{pairs}"
