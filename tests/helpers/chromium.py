"""A headless Chromium, driven through its DevTools protocol over a pair of pipes: no driver and no package is needed.

``LLMPERF_TEST_CHROMIUM`` names the program; without it, it is the first on the ``PATH`` of those in ``NAMES``.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SECONDS = 60.0
_OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-sandbox",  # root, as in containers of CI, has no other way; it opens only files that the tests have written
    "--force-color-profile=srgb",
)


def find_chromium() -> str | None:
    """The program; None if there is none."""
    return os.environ.get("LLMPERF_TEST_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """A running browser with one page.

    Attributes:
        events: what the browser has told of the page since ``clear_events``: pairs of a name and its parameters.
    """

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to_browser = to_browser
        self._from_browser = from_browser
        self._received = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def attach(self) -> None:
        """Opens a page and listens to its console, its requests and its errors."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and returns its result.

        Raises:
            RuntimeError: the browser refused it.
            TimeoutError: it did not answer in time.
        """
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to_browser, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            if "method" in answer:
                self.events.append((answer["method"], answer["params"]))

    def open(self, path: Path, fragment: str = "") -> None:
        """Opens a file anew, and waits until it has been loaded."""
        self.call("Page.navigate", url="about:blank")
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri() + fragment)
        self.wait(lambda: self.run("location.protocol === 'file:' && document.readyState === 'complete'"))

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, as plain data. A promise is waited for."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(f"{expression}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def wait(self, is_so: Callable[[], Any]) -> None:
        """Waits until it is so.

        Raises:
            TimeoutError: it did not become so.
        """
        end = time.monotonic() + _SECONDS
        while not is_so():
            if time.monotonic() > end:
                raise TimeoutError("the page did not become what it was waited for")
            time.sleep(0.02)

    def press(self, key: str, *, shift: bool = False) -> None:
        """Presses and releases a key, such as ``Tab`` or ``Enter``."""
        codes = {"Tab": 9, "Enter": 13, " ": 32}
        text = {"Enter": "\r", " ": " "}.get(key, "")
        common = {"key": key, "windowsVirtualKeyCode": codes[key], "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        """Types text where the focus is."""
        self.call("Input.insertText", text=text)

    def emulate(self, *, medium: str = "", scheme: str = "light") -> None:
        """Shows the page as on paper (``print``) or on a screen, in ``light`` or ``dark``."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=medium, features=features)

    def take_picture(self, *, width: int, height: int, kind: str = "webp", quality: int = 80) -> str:
        """A picture of the window as it is, in base64."""
        self.resize(width, height)
        return str(self.call("Page.captureScreenshot", format=kind, quality=quality)["data"])

    def resize(self, width: int, height: int) -> None:
        """Gives the window another size, in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + _SECONDS
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._from_browser], [], [], max(0.0, end - time.monotonic()))
            block = os.read(self._from_browser, 2**20) if ready else b""
            if not block:
                raise TimeoutError("Chromium has ended" if ready else "Chromium does not answer")
            self._received += block
        message, _, self._received = self._received.partition(b"\0")
        return dict(json.loads(message))


def _move_up(descriptor: int) -> int:
    """The same file under a number from 10 on, so that it is in the way of no other."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved


@contextmanager
def start_chromium(program: str) -> Iterator[Chromium]:
    """A browser with a profile of its own, which is gone at the end."""
    (its_input, to_browser), (from_browser, its_output) = map(_move_up, os.pipe()), map(_move_up, os.pipe())
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        Path(profile, "log").open("wb") as log,
    ):
        options = [*_OPTIONS, f"--user-data-dir={profile}"]
        # The protocol is spoken on the descriptors 3 and 4.
        process = subprocess.Popen(
            ["bash", "-c", f'exec 3<&{its_input} 4>&{its_output}; exec "$@"', "bash", program, *options],
            pass_fds=(its_input, its_output),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        os.close(its_input)
        os.close(its_output)
        browser = Chromium(to_browser, from_browser)
        try:
            browser.attach()
            yield browser
        finally:
            os.close(to_browser)  # it ends when its pipe does
            try:
                process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_SECONDS)
            os.close(from_browser)
