"""The calls that the relay has recorded, until pytest takes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CAPACITY = 512 << 20
# The ends of the paths on which servers generate tokens, whatever stands before them.
MEASURED_PATHS = ("/chat/completions", "/completions", "/responses", "/api/chat", "/api/generate")


@dataclass(slots=True)
class RecordedCall:
    """One call and its answer so far. Of the request only the path is kept. Times are ns of ``time.monotonic_ns()``.

    Attributes:
        path: path of the request, without a query.
        sent_ns: arrival of the first byte of the request.
        end_ns: arrival of the last byte so far.
        status: HTTP status; None before the answer.
        content_type: header of the answer, or "".
        content_encoding: header of the answer in lower case, or "".
        pieces: content of the body as (stamp, bytes), without the framing.
        fault: why the answer is not complete, or "".
        by_app: whether the app or the end of the test ended the call; the app may have read all that it wanted.
        ended: whether the call is over; nothing changes after that.
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


class RecordedCalls:
    """The calls of one relay while a test is measured, with up to ``capacity`` bytes of answers in all.

    ``outside`` counts the calls that came while no test was measured; ``problems`` are errors of the relay itself, a
    sentence each.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._kept = 0
        self._open = False
        self._calls: list[RecordedCall] = []
        self.outside = 0
        self.problems: list[str] = []

    def open(self) -> None:
        """Records the calls from now on as those of a test."""
        self._open = True

    def begin(self, method: str, path: str, sent_ns: int) -> RecordedCall | None:
        """Records the start of a call; None if its path is not measured or no test is."""
        if method != "POST" or not path.endswith(MEASURED_PATHS):
            return None
        return self.record(path, sent_ns)

    def record(self, path: str, sent_ns: int) -> RecordedCall | None:
        """Records a call on any path; None if no test is measured."""
        if not self._open:
            self.outside += 1
            return None
        call = RecordedCall(path, sent_ns, sent_ns)
        self._calls.append(call)
        return call

    def add_content(self, call: RecordedCall, at_ns: int, content: Sequence[bytes]) -> None:
        """Adds a piece of the answer. A call whose answer exceeds the capacity ends with that fault and no pieces."""
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

    def end(self, call: RecordedCall, at_ns: int, fault: str = "", *, by_app: bool = False) -> None:
        """Ends a call, with a ``fault`` if its answer is not complete; only the first end counts."""
        if not call.ended:
            call.end_ns, call.fault, call.by_app, call.ended = at_ns, fault, by_app, True

    @property
    def in_flight(self) -> bool:
        """Whether a call has not ended yet."""
        return any(not call.ended for call in self._calls)

    def take(self, at_ns: int, *, final: bool) -> list[RecordedCall]:
        """Takes the calls that have ended; ``final`` ends those in flight, takes them too, and stops the recording."""
        if final:
            for call in self._calls:
                self.end(call, at_ns, "the answer was not complete when the test ended", by_app=True)
            self._open, self._kept = False, 0
        taken = [call for call in self._calls if call.ended]
        self._calls = [call for call in self._calls if not call.ended]
        return taken
