"""What workers have to say while they start engines: they write it to the run's folder, the controller prints it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_FILE = "news"
_PERIOD_S = 0.2


def tell(folder: str, text: str) -> None:
    """One line; lines of several workers do not mix.

    Raises:
        OSError: the run is over.
    """
    file = os.open(Path(folder) / _FILE, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(file, f"{' '.join(text.split())}\n".encode())
    finally:
        os.close(file)


class News:
    """Prints the lines as they come, from a thread of its own."""

    def __init__(self, folder: str, say: Callable[[str], None]) -> None:
        path = Path(folder) / _FILE
        path.touch()
        self._file = path.open(encoding="utf-8", errors="replace")
        self._say = say
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="llmperf-news", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(_PERIOD_S):
            self._print()

    def _print(self) -> None:
        for line in self._file.readlines():
            self._say(line.rstrip("\n"))

    def close(self) -> None:
        """Prints what is left."""
        self._ended.set()
        self._thread.join()
        self._print()
        self._file.close()
