"""What can be wrong with an item of a data set, by kind, so that a check can count and sort what it finds."""

from __future__ import annotations

from gluon_confseg.errors import DatasetError

# kind -> heading for people
KINDS = {
    "layout": "folders and lists",
    "count": "number of images",
    "unpaired": "images and labels without partner",
    "listed": "lists of names",
    "unreadable": "files that can't be read",
    "size": "labels of another size than their image",
    "mode": "labels of the wrong kind",
    "rgb": "labels that hold colours",
    "value": "label values that mean nothing",
    "meaning": "labels that may mean one class or another",
    "raw_ids": "raw ids and train ids mixed up",
    "against": "labels that show other classes than the list's values say",
    "mixed": "labels of which some are read by number and some by colour",
    "named": "classes with a name for pixels of no class",
    "shared": "the same image in two splits",
    "twice": "the same image twice in a split",
    "orientation": "images that viewers turn, and that are read as they are stored",
    "depth": "images of 16 bits, which are read as 8",
    "odd_size": "images of another size than the rest",
    "unlabelled": "labels with nothing but ignored pixels",
    "unused": "classes that occur nowhere",
}


class Fault(DatasetError):
    """A DatasetError that knows its kind, one of `KINDS`."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind

    def __reduce__(self):
        return Fault, (self.kind, str(self))  # worker processes hand errors on by pickling them
