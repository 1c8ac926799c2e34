"""Messages of workers to the person who waits: a worker appends them to a file, the controller prints them."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_FILE = "messages"
_PERIOD_S = 0.2
_END_TIMEOUT_S = 10.0


def write_message(folder: str, text: str) -> None:
    """Appends ``text`` as one line to the run's file of messages. Lines of several workers do not mix.

    Raises:
        OSError: the run is over.
    """
    file = os.open(Path(folder) / _FILE, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(file, f"{' '.join(text.split())}\n".encode())
    finally:
        os.close(file)


class MessagePrinter:
    """Prints the messages of workers as they come, from a thread of its own, until it is closed."""

    def __init__(self, folder: str, say: Callable[[str], None]) -> None:
        path = Path(folder) / _FILE
        path.touch()
        self._file = path.open(encoding="utf-8", errors="replace")
        self._say = say
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="llmperf-messages", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(_PERIOD_S):
            self._print()

    def _print(self) -> None:
        for line in self._file.readlines():
            self._say(line.rstrip("\n"))

    def close(self) -> None:
        """Prints what is left and ends the thread; one whose terminal takes no more output is left behind."""
        self._ended.set()
        self._thread.join(_END_TIMEOUT_S)
        if not self._thread.is_alive():
            self._print()
            self._file.close()
