"""A headless Chromium that tests steer by its own protocol, over a pipe: no driver whose version has to fit."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
    ),
    *("--disable-dev-shm-usage", "--force-color-profile=srgb", "--remote-debugging-pipe"),
)
PATIENCE = 60.0  # seconds for one answer


def find() -> str | None:
    """The program, of $CONFSEG_CHROMIUM or by one of its usual names; None where there is none."""
    return os.environ.get("CONFSEG_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One process of Chromium with a profile of its own; both are gone in the end."""

    def __enter__(self) -> Browser:
        self._home = tempfile.mkdtemp(prefix="chromium-")
        pipes = os.pipe(), os.pipe()
        # Chromium reads descriptor 3 and writes descriptor 4: no end may be one of these already
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for pipe in pipes for end in pipe]
        for end in (end for pipe in pipes for end in pipe):
            os.close(end)
        to_browser, self._write, self._read, from_browser = ends
        arguments = [find(), *OPTIONS, f"--user-data-dir={self._home}", "about:blank"]
        actions = [
            *((os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)),
            (os.POSIX_SPAWN_DUP2, to_browser, 3),
            (os.POSIX_SPAWN_DUP2, from_browser, 4),
        ]
        self._process = os.posix_spawn(arguments[0], arguments, os.environ, file_actions=actions, setpgroup=0)
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._number, self.events = b"", 0, []
        return self

    def __exit__(self, *_) -> None:
        os.close(self._write)  # at which Chromium ends
        until = time.monotonic() + 10
        while os.waitpid(self._process, os.WNOHANG)[0] == 0:
            if time.monotonic() > until:
                os.kill(self._process, signal.SIGKILL)
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):  # its helpers
            os.killpg(self._process, signal.SIGKILL)
        os.close(self._read)
        shutil.rmtree(self._home, ignore_errors=True)

    def ask(self, method: str, session: str | None = None, **parameters) -> dict:
        """Give a command of the protocol and return its result; events that come meanwhile go into `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            answer = self._next(until)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def _next(self, until: float) -> dict:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0, until - time.monotonic()))
            content = os.read(self._read, 1 << 20) if ready else b""
            if not content:
                raise RuntimeError("Chromium does not answer")
            self._buffer += content
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, address: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> Page:
        """A page in a window of this size, when its script has run."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, target)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.ask(f"{domain}.enable")
        page.resize(width, height)
        page.colors(dark)
        page.ask("Page.navigate", url=address)
        page.wait("document.readyState === 'complete' && document.documentElement.dataset.ready === 'yes'")
        return page


class Page:
    """An open page."""

    def __init__(self, browser: Browser, session: str, target: str):
        self._browser, self._session, self._target = browser, session, target

    def ask(self, method: str, **parameters) -> dict:
        """A command of the protocol for this page."""
        return self._browser.ask(method, self._session, **parameters)

    def run(self, script: str):
        """The value of a JavaScript expression, or of the promise that it is."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def wait(self, script: str) -> None:
        """Wait until an expression is true."""
        until = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({script})"):
            if time.monotonic() > until:
                raise RuntimeError(f"never came true: {script}; problems: {self.problems}")
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """Press and release a key, such as "Enter"."""
        text = {"Enter": "\r"}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            parameters = {"text": text} if text and kind == "keyDown" else {}
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, **parameters)

    def resize(self, width: int, height: int = 900) -> None:
        """The size of the window, in CSS pixels."""
        parameters = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **parameters)

    def colors(self, dark: bool) -> None:
        """What the page is told of the system's colours."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path, full: bool = False) -> None:
        """A PNG of the window, or of the whole page."""
        content = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=full)["data"]
        Path(path).write_bytes(base64.b64decode(content))

    @property
    def problems(self) -> list:
        """What went wrong in the page so far: exceptions, errors and warnings of the console."""
        self.run("0")  # events that are on their way
        found = []
        for event in self._browser.events:
            if event.get("sessionId") != self._session:
                continue
            method, parameters = event["method"], event["params"]
            if method == "Runtime.exceptionThrown":
                found.append(str(parameters["exceptionDetails"]))
            elif method == "Runtime.consoleAPICalled" and parameters["type"] in (
                "error",
                "warning",
                "assert",
            ):
                found.append(str(parameters["args"]))
            elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                found.append(str(parameters["entry"]))
        return found

    @property
    def requests(self) -> list:
        """Addresses that the page asked for, but for its own."""
        self.run("0")
        asked = [
            event["params"]["request"]["url"]
            for event in self._browser.events
            if event.get("sessionId") == self._session and event["method"] == "Network.requestWillBeSent"
        ]
        return [address for address in asked[1:] if not address.startswith("data:")]
