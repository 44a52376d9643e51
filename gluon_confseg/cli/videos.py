"""The overlays of a video's frames, as a video again."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np

from gluon_confseg import files
from gluon_confseg.errors import RunError

# MPEG-4 Part 2 is in OpenCV's wheels, H.264 is not; Motion JPEG is in every build
_FORMATS = ((".mp4", "mp4v"), (".avi", "MJPG"))


class Videos:
    """Videos that are written one after the other, frame by frame; a context that ends the last one.

    rates       path of a video -> its frames a second
    written     {"video", "name", "frames", "overlay" (the file, or None), "notes"} of each
    """

    def __init__(self, out: Path, rates: dict):
        self._out, self._rates, self.written = out, rates, []
        self._stack, self._writer = contextlib.ExitStack(), None

    def __enter__(self) -> Videos:
        return self

    def add(self, about: dict, frame: np.ndarray | None) -> None:
        """The next frame: what `segmenting.write` said of it, and its overlay where that is wanted."""
        if not self.written or self.written[-1]["name"] != about["video"]:
            self._close(None)
            self._begin(about, frame)
        video = self.written[-1]
        video["frames"] += 1
        if self._writer is None:
            return
        if frame.shape[:2] != self._size:
            video["notes"].append(f"frame {video['frames']} has another size and is not in the video")
            return
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def _begin(self, about: dict, frame: np.ndarray | None) -> None:
        name, path = about["video"], about["image"]
        self.written.append({"video": path, "name": name, "frames": 0, "overlay": None, "notes": []})
        if frame is None:
            return
        self._size = height, width = frame.shape[:2]
        for end, code in _FORMATS:
            target = self._out / "overlay" / f"{name}{end}"
            beside = self._stack.enter_context(files.replacing(target, end))
            writer = cv2.VideoWriter(
                str(beside), cv2.VideoWriter_fourcc(*code), self._rates.get(path, 25.0), (width, height)
            )
            if writer.isOpened():
                self._writer, self.written[-1]["overlay"] = writer, str(target)
                return
            writer.release()
            with contextlib.suppress(RunError, OSError):
                self._stack.__exit__(RunError, RunError(), None)
            self._stack = contextlib.ExitStack()
        self.written[-1]["notes"].append("no overlay video was written, since this OpenCV encodes none")

    def _close(self, error) -> None:
        if self._writer is not None:
            self._writer.release()
        self._writer, stack, self._stack = None, self._stack, contextlib.ExitStack()
        if error is None:
            stack.close()
        else:
            stack.__exit__(type(error), error, error.__traceback__)

    def __exit__(self, kind, error, trace) -> None:
        self._close(error)
