"""The examples of the documentation: blocks of shell commands and of Python in Markdown pages, and a place to run them.

A block is fenced as `sh` or `python`. A comment in the line before it may say something of it:

    <!-- example: not run: REASON -->      it is only parsed, and the reason says why
    <!-- example: file NAME -->            it is the content of a file

All blocks of a page are run one after the other in one folder. What an example names in capitals is there: MYDATA,
LABELS, PREDICTIONS, IMAGES and SCENES are folders with data. Trainings and studies are those of the profile smoke,
whose run folder is named where a page names that of the profile quick.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from experiments import PROJECT
from experiments.tools import made_up_data

PAGES = sorted(
    path.relative_to(PROJECT).as_posix()
    for pattern in (
        "README.md",
        "docs/*.md",
        "docs/howto/*.md",
        "data/*.md",
        "data/*/README.md",
        "symbols/*.md",
    )
    for path in PROJECT.glob(pattern)
)
RUN = "runs/drawn-smoke-seed0"
_BLOCK = re.compile(r"(?:<!-- example: (.*?) -->\n)?^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SIZED = re.compile(
    r"^(confseg (?:train|study) (?!.*(?:--show|--list|\.py)\b).*?)(\s*(?:#.*)?)$", re.MULTILINE
)


class Example(NamedTuple):
    """A block: "sh" or "python", its text, and what the comment before it says: "" where there is none."""

    kind: str
    text: str
    said: str

    @property
    def runs(self) -> bool:
        """Whether it is run."""
        return not self.said.startswith("not run: ")

    def lines(self) -> list:
        """Of a shell block, the words of each command."""
        commands = self.text.replace("\\\n", " ").splitlines()
        return [words for words in (shlex.split(line, comments=True) for line in commands) if words]


def of_page(page: str) -> list:
    """All examples of a page."""
    text = (PROJECT / page).read_text(encoding="utf-8")
    found = [Example(kind, block, said or "") for said, kind, block in _BLOCK.findall(text)]
    for example in found:
        assert re.fullmatch(r"|not run: .{10,}|file \S+", example.said), f"{page}: {example.said}"
    return found


def small(text: str) -> str:
    """Shell commands at their smallest size."""
    text = text.replace("-quick-", "-smoke-").replace("--profile quick", "--profile smoke")
    text = _SIZED.sub(
        lambda line: line[0] if "--profile" in line[1] else f"{line[1]} --profile smoke{line[2]}", text
    )
    return text


class Place:
    """A folder with all that examples name, in which they are run."""

    def __init__(self, folder: Path):
        self.folder, self.names = folder, {"__name__": "example"}
        tools = folder.with_name(f"{folder.name}-tools")
        tools.mkdir()
        for name, module in (("confseg", "-m gluon_confseg "), ("python", "")):
            (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module}"$@"\n')
            (tools / name).chmod(0o755)
        self.environment = {"PATH": f"{tools}:/usr/bin:/bin", "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1",
                            "HOME": str(tools)}  # fmt: skip
        folder.mkdir()
        (folder / "symbols").symlink_to(PROJECT / "symbols")

    def put_data(self) -> None:
        """MYDATA, LABELS, PREDICTIONS, IMAGES, classes.csv, a.png and b.jpg."""
        root = made_up_data.make(self.folder / "MYDATA")
        shutil.copy(root / "classes.csv", self.folder)
        for name, kind in (("LABELS", "labels"), ("PREDICTIONS", "labels"), ("IMAGES", "images")):
            (self.folder / name).mkdir()
            shutil.copy(root / kind / "val" / "000.png", self.folder / name)
        picture = np.random.RandomState(0).randint(0, 256, (96, 128, 3)).astype(np.uint8)
        cv2.imwrite(str(self.folder / "a.png"), picture)
        cv2.imwrite(str(self.folder / "b.jpg"), picture)

    def put_run(self, trained: Path) -> None:
        """The finished run of the recipe drawn in another place's folder, its data, and SCENES."""
        shutil.copytree(trained / RUN, self.folder / RUN)
        shutil.copytree(trained / "data", self.folder / "data")
        (scenes,) = (self.folder / "data" / "drawn-scenes").iterdir()
        (self.folder / "SCENES").symlink_to(scenes)

    def run(self, example: Example) -> None:
        """Run an example, or write its file; AssertionError with what it printed where it fails."""
        if example.said.startswith("file "):
            (self.folder / example.said.split()[1]).write_text(example.text, encoding="utf-8")
        elif example.kind == "python":
            exec(compile(example.text.replace("-quick-", "-smoke-"), "example", "exec"), self.names)
        else:
            done = subprocess.run(["sh", "-e", "-x", "-c", small(example.text)], cwd=str(self.folder), text=True,
                                  env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
            assert done.returncode == 0, f"{example.text}\n{done.stdout[-3000:]}"
