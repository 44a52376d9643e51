"""Which images an archive must hold predictions of."""

from __future__ import annotations

from pathlib import Path

from gluon_confseg.datasets import SegmentationDataset, pictures
from gluon_confseg.errors import DatasetError
from gluon_confseg.submission.servers import Server


def of_dataset(dataset: SegmentationDataset) -> dict:
    """{name: (height, width)} of the images of a split, in their order, from the headers of their files."""
    expected = {}
    for name, path in zip(dataset.names, dataset.image_paths):
        header = pictures.peek(path)
        expected[name] = (header.height, header.width)
    return expected


def of_list(path: Path, server: Server) -> dict:
    """{name: the size of all images of this benchmark, or None} of a text file with one name or file on each line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise DatasetError(
            f"{path}: can't be read ({reason}); give a file with one image on each line"
        ) from error
    members = (server.member(Path(line.strip()).stem) for line in lines if line.strip())
    expected = {server.name_of(member): server.size for member in members}
    if not expected:
        raise DatasetError(f"{path}: holds no names; give a file with one image on each line")
    return expected
