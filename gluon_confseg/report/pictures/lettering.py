"""Class names of any script in pictures: drawn where a font of this machine has their letters, numbered where none has.

Matplotlib draws one sign after the other from left to right. Scripts that join or stack their signs (Arabic, Hebrew,
Devanagari, Thai and others) would be drawn wrong by any font, so their names are numbered as well.
"""

from __future__ import annotations

import functools
import re
import unicodedata
import warnings
from collections.abc import Sequence

from matplotlib import font_manager

FONT = "DejaVu Sans"  # comes with Matplotlib
NOTE = "Classes whose letters no font here has are numbered."
# boxes for every sign there is, or other signs than those of their codes
_NOT_FOR_TEXT = re.compile(r"last ?resort|fallback|blank|^cm\w+10$|^STIX(?!General)", re.IGNORECASE)
_NOT_ALONE = {"Mn", "Mc", "Me", "Cf", "Cc", "Cs", "Co", "Cn", "Zl", "Zp"}  # marks, controls, unassigned
_said: set[str] = set()
_RIGHT_TO_LEFT = {"R", "AL", "AN"}


class Lettering:
    """How the names of classes, and texts that may hold them, are drawn in one picture.

    names       of the classes, as drawn
    fonts       families that have all their signs, the usual one first
    numbered    what is drawn -> the class's name, of those that can't be drawn; a warning lists them as well
    """

    def __init__(self, classes: Sequence[str], *texts: str):
        classes = [unicodedata.normalize("NFC", str(name)) for name in classes]
        self.fonts, self._missing = _fonts(frozenset("".join([*classes, *texts])))
        self.names = [
            f"class {number}" if any(map(self._is_illegible, name)) else name
            for number, name in enumerate(classes)
        ]
        self.numbered = {drawn: name for drawn, name in zip(self.names, classes) if drawn != name}
        if self.numbered:
            listed = ", ".join(f"{drawn} = {name}" for drawn, name in self.numbered.items())
            message = f"no font here has the letters of all class names, so pictures number them: {listed}"
            if message not in _said:  # a run draws many pictures
                _said.add(message)
                warnings.warn(message, RuntimeWarning, stacklevel=1)

    def text(self, text: str) -> str:
        """A title, the name of a file: class names are numbered as elsewhere, other signs become their codes."""
        text = unicodedata.normalize("NFC", str(text))
        for drawn, name in sorted(self.numbered.items(), key=lambda item: -len(item[1])):
            text = text.replace(name, drawn)
        return "".join(
            sign.encode("unicode_escape").decode() if self._is_illegible(sign) else sign for sign in text
        )

    @property
    def longest(self) -> int:
        """The width of the longest name, in letters."""
        return max(
            sum(1 + (unicodedata.east_asian_width(sign) in "WF") for sign in name) for name in self.names
        )

    def _is_illegible(self, sign: str) -> bool:
        joined = unicodedata.category(sign) in _NOT_ALONE or unicodedata.bidirectional(sign) in _RIGHT_TO_LEFT
        return joined or sign in self._missing


@functools.lru_cache(maxsize=64)
def _fonts(signs: frozenset[str]) -> tuple[list[str], frozenset[str]]:
    """Installed families that together have these signs, FONT first; and the signs that none has."""
    families, left = [FONT], signs - _signs(font_manager.findfont(FONT))
    for entry in sorted(font_manager.fontManager.ttflist, key=lambda entry: (entry.name, entry.fname)):
        if not left:
            break
        if entry.style != "normal" or _NOT_FOR_TEXT.search(entry.name):
            continue
        has = left & _signs(entry.fname)
        if has:
            families, left = [*families, entry.name], left - has
    return families, left


def _signs(path: str) -> frozenset[str]:
    try:
        font = font_manager.get_font(path)
        return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()
    except (OSError, RuntimeError, ValueError):  # a font that was removed, or that Matplotlib can't read
        return frozenset()
