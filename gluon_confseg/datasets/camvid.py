"""CamVid as the SegNet tutorial splits it: SPLIT/NAME.png and SPLITannot/NAME.png."""

from __future__ import annotations

from pathlib import Path

from gluon_confseg.datasets.base import SegmentationDataset
from gluon_confseg.datasets.pairing import check_choice, existing_root, files_by_name, nearby, pair
from gluon_confseg.errors import DatasetError
from gluon_confseg.labels import CAMVID

_WANTED = "train/, trainannot/, val/ and valannot/"


class CamVid(SegmentationDataset):
    """Road photographs of 480 x 360 pixels, 11 classes; value 11 in a label is ignored.

    root        folder of train/, trainannot/, ...
    split       "train", "val" or "test"
    strict      False: what does not pair is left out, and listed in `alone`
    Raises DatasetError: no such folder, another layout, images and labels that do not pair (all at once).
    """

    COUNTS = {"train": 367, "val": 101, "test": 233}
    ONE_SIZE = True
    block = 10  # the validation split is every second frame of some seven seconds of one drive

    def __init__(self, root, split: str = "train", *, strict: bool = True):
        root = existing_root(root, _WANTED)
        check_choice("CamVid", "split", split, self.SPLITS)
        images, labels = _files(root, split, split), _files(root, split, f"{split}annot")
        pairing = pair(root, images, labels, (root / split, ".png"), (root / f"{split}annot", ".png"))
        super().__init__(root, split, CAMVID, pairing, strict=strict)

    @classmethod
    def splits_in(cls, root: Path) -> list[str]:
        return ["train", "val"] + (["test"] if (root / "test").is_dir() else [])

    @property
    def description(self) -> str:
        return f"CamVid photographs, {self.split}: {len(self)} images."


def _files(root: Path, split: str, folder: str) -> dict[str, Path]:
    files = files_by_name(root / folder, ".png")
    if files:
        return files
    reason = f"{folder}/ holds no *.png" if (root / folder).is_dir() else f"there is no folder {folder}"
    looked = f"{reason} (looked for {split}/NAME.png and {split}annot/NAME.png)"
    others = [
        name
        for name in CamVid.SPLITS
        if name != split and (root / name).is_dir() and (root / f"{name}annot").is_dir()
    ]
    if others:
        raise DatasetError(
            f"{root}: has no CamVid split {split}, {looked}; add it, or use one of: {', '.join(others)}."
        )
    raise DatasetError(
        f"{root}: is not the CamVid layout, {looked}; give the folder that holds {_WANTED}."
        f"{nearby(root, f'{split}annot')}"
    )
