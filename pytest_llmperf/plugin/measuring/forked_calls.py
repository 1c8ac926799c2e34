"""Requests of llm_client in processes that a test has forked. They are counted, and not timed."""

from __future__ import annotations

import fcntl
import os
import pickle
import struct
import tempfile
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.measurement.prompts import Prompt
    from pytest_llmperf.plugin.measuring.left_overs import Owner

_LENGTH = struct.Struct("!I")
WHAT = "llm_client in a forked process"
"""What such a request is called beside the paths of calls whose answers are not read."""


@dataclass(frozen=True)
class ForkedCall:
    """A request, or a load, that a forked process has begun.

    Attributes:
        owner: the test whose client it used.
        kind: ``REQUEST`` or ``LOAD``; "" for further prompts of a load.
        engine: number of the engine that was asked, as of :meth:`ForkedCalls.know`; -1 if this process has none such.
        sent_ns: when it began, in ns of ``time.monotonic_ns()``.
        prompts: what it has sent, as far as that is known.
    """

    owner: Owner
    kind: str
    engine: int
    sent_ns: int
    prompts: tuple[Prompt, ...]


class ForkedCalls:
    """Carries the requests of forked processes to this one, in a file without a name that they inherit."""

    def __init__(self) -> None:
        self._file, path = tempfile.mkstemp()
        os.unlink(path)
        fcntl.fcntl(self._file, fcntl.F_SETFL, os.O_APPEND)
        self._read_bytes = 0
        self._lock = threading.Lock()
        self._engines: list[Engine] = []

    def know(self, engine: Engine) -> None:
        """Gives an engine a number, by which forked processes name it."""
        if engine not in self._engines:
            self._engines.append(engine)

    def note(self, owner: Owner, kind: str, engine: Engine, sent_ns: int, prompts: Sequence[Prompt | None]) -> None:
        """Notes a request, in the process that sends it."""
        number = self._engines.index(engine) if engine in self._engines else -1
        known = tuple(prompt for prompt in prompts if prompt is not None)
        content = pickle.dumps(ForkedCall(owner, kind, number, sent_ns, known))
        os.write(self._file, _LENGTH.pack(len(content)) + content)  # in one piece, as others may write too

    def take(self) -> list[ForkedCall]:
        """Takes what forked processes have noted since the last time."""
        found = []
        with self._lock:
            while len(head := os.pread(self._file, _LENGTH.size, self._read_bytes)) == _LENGTH.size:
                (length,) = _LENGTH.unpack(head)
                content = os.pread(self._file, length, self._read_bytes + _LENGTH.size)
                if len(content) < length:
                    break
                self._read_bytes += _LENGTH.size + length
                found.append(pickle.loads(content))
        return found

    def find_engine(self, call: ForkedCall) -> Engine | None:
        """The engine that a request was sent to; None if this process does not know it."""
        return self._engines[call.engine] if 0 <= call.engine < len(self._engines) else None

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)
