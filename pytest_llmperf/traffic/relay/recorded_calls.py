"""What the relay notes of the calls that pass through it, until pytest asks for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CAPACITY = 512 << 20
# What asks a model for tokens, below whatever prefix the server has.
MEASURED_PATHS = ("/chat/completions", "/completions", "/responses", "/api/chat", "/api/generate")


@dataclass(slots=True)
class Relayed:
    """One call and its answer so far; of the call itself only the path is kept.

    ``pieces`` are the content of the answer's body, each with its stamp. ``fault`` is why the answer is not complete,
    and ``by_app`` that it was the app or the test that waited no longer, and may have had all that it wanted. All times
    are ns of ``time.monotonic_ns()``.
    """

    path: str
    sent_ns: int
    end_ns: int = 0
    status: int | None = None
    content_type: str = ""
    content_encoding: str = ""
    pieces: list[tuple[int, bytes]] = field(default_factory=list)
    fault: str = ""
    by_app: bool = False
    ended: bool = False


class Ledger:
    """The calls of one relay. Answers are kept while a test is measured, up to ``capacity`` bytes in all.

    ``outside`` counts the calls that came while none was; ``problems`` say in a sentence what the relay did wrong.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._kept = 0
        self._open = False
        self._calls: list[Relayed] = []
        self.outside = 0
        self.problems: list[str] = []

    def open(self) -> None:
        """From now on calls are a test's."""
        self._open = True

    def begin(self, method: str, path: str, sent_ns: int) -> Relayed | None:
        """The call, where it is one that is measured."""
        if method != "POST" or not path.endswith(MEASURED_PATHS):
            return None
        return self.note(path, sent_ns)

    def note(self, path: str, sent_ns: int) -> Relayed | None:
        if not self._open:
            self.outside += 1
            return None
        call = Relayed(path, sent_ns, sent_ns)
        self._calls.append(call)
        return call

    def keep(self, call: Relayed, at_ns: int, content: Sequence[bytes]) -> None:
        """A piece of the answer has come."""
        if call.ended:
            return
        call.end_ns = at_ns
        size = sum(map(len, content))
        if self._kept + size > self._capacity:
            self.end(call, at_ns, f"not measured: the relay keeps {self._capacity >> 20} MiB of a test's answers")
            call.pieces.clear()
            return
        self._kept += size
        call.pieces += [(at_ns, piece) for piece in content]

    def end(self, call: Relayed, at_ns: int, fault: str = "", *, by_app: bool = False) -> None:
        """The answer is complete, or will never be; what comes later changes nothing."""
        if not call.ended:
            call.end_ns, call.fault, call.by_app, call.ended = at_ns, fault, by_app, True

    @property
    def under_way(self) -> bool:
        return any(not call.ended for call in self._calls)

    def take(self, at_ns: int, *, final: bool) -> list[Relayed]:
        """The calls that ended since the last time; with ``final`` all of them, and no test is measured any more."""
        if final:
            for call in self._calls:
                self.end(call, at_ns, "the answer was not complete when the test ended", by_app=True)
            self._open, self._kept = False, 0
        taken = [call for call in self._calls if call.ended]
        self._calls = [call for call in self._calls if not call.ended]
        return taken
