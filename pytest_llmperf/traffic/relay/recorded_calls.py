"""The calls that the relay has recorded, until pytest takes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_llmperf.traffic.answers.asked import (
    asks_for_several,
    check_best_of,
    is_told_to_go_on,
    read_adapters,
    read_asked_tokens,
)
from pytest_llmperf.traffic.answers.inputs.counts import count_asked_inputs, count_asked_results
from pytest_llmperf.traffic.answers.inputs.vectors import thin_out
from pytest_llmperf.traffic.client.prompts import find_prompt, parse_body, parse_prompt
from pytest_llmperf.traffic.relay.encodings import decode_body
from pytest_llmperf.traffic.relay.paths import find_work, is_harmless, is_read, is_safe

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_llmperf.measurement.prompts import Prompt
    from pytest_llmperf.measurement.request import Work

CAPACITY = 512 << 20
UNENDED = "it was still on its way when the test ended"
HUNG_UP = "the app closed the connection before the answer was complete"


@dataclass(slots=True)
class RecordedCall:
    """One call and its answer so far. No text of the request leaves the relay. Times are ns of ``time.monotonic_ns()``.

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
        app_finished: whether the app ended its side of the connection before the answer was complete.
        ended: whether the call is over for its test; nothing that is kept of it changes after that.
        over_ns: when the call was really over, for one that belongs to no test or outlived it; 0 until then.
        method: that of the request.
        read: whether its answer is kept, to be read.
        work: what it has the engine do, if it is read.
        body: that of the request, until the call is taken.
        body_encoding: its Content-Encoding in lower case, or "".
        prompt: digests of its prompt, from then on; None if there is none that can be read.
        asked_tokens: the most output tokens that it asks for, from then on; None without a limit.
        full_length: whether it tells the server to end the answer there and not earlier, from then on.
        several: whether it asks for several answers at once, from then on.
        count_fault: why its tokens cannot be told from what it asks for, from then on; "" if they can.
        asked_inputs, asked_results: how many texts it has embedded or ranked, and how many vectors or scores it wants,
            from then on; None if that is not known, and of other requests.
        adapter: the numbers of the adapters that it asks for, from then on; "" for none.
        late_ns: how late its stamps may be, in ns, from then on; None if that is not known.
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
    app_finished: bool = False
    ended: bool = False
    over_ns: int = 0
    method: str = "POST"
    read: bool = True
    work: Work = "text"
    body: bytes = b""
    body_encoding: str = ""
    prompt: Prompt | None = None
    asked_tokens: int | None = None
    full_length: bool = False
    several: bool = False
    count_fault: str = ""
    asked_inputs: int | None = None
    asked_results: int | None = None
    adapter: str = ""
    late_ns: int | None = None


class RecordedCalls:
    """The calls of one relay while a test is measured, with up to ``capacity`` bytes of answers in all.

    ``outside`` counts the calls that came while no test was measured, and ``prompts_outside`` holds their prompts;
    ``problems`` are errors of the relay itself, a sentence each. ``obeyed`` are the fields of a request by which the
    server keeps prompts apart in its cache.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self.obeyed: Collection[str] = ()
        self._kept = 0
        self._open = False
        self._opened_ns = 0
        self._calls: list[RecordedCall] = []
        self._left_over: list[RecordedCall] = []
        self.outside = 0
        self.prompts_outside: list[Prompt] = []
        self.problems: list[str] = []

    def open(self, at_ns: int) -> None:
        """Records the calls from now on as those of a test."""
        self._open, self._opened_ns = True, at_ns
        self._left_over = [call for call in self._left_over if not call.over_ns]

    def begin(self, method: str, path: str, sent_ns: int) -> RecordedCall | None:
        """Records the start of a call; None for one that only asks for what is there, such as a GET."""
        return None if is_safe(method) else self.record(path, sent_ns, method=method, read=is_read(method, path))

    def begin_head(self, method: str, sent_ns: int) -> RecordedCall | None:
        """Records a call whose head has begun to arrive, with its ``method`` or ""; None if it belongs to no test."""
        return self.record("", sent_ns, method=method) if self._open and not is_safe(method) else None

    def complete_head(self, call: RecordedCall, method: str, path: str) -> RecordedCall | None:
        """Notes what a call asks for whose head is whole now; None for one that only asks for what is there."""
        call.method, call.path, call.read, call.work = method, path, is_read(method, path), find_work(path)
        if is_safe(method):
            self._calls = [other for other in self._calls if other is not call]
            self._left_over = [other for other in self._left_over if other is not call]
            return None
        return call

    def record(self, path: str, sent_ns: int, *, method: str = "POST", read: bool = True) -> RecordedCall:
        """Records a call, whatever its path. While no test is measured, nothing of it is kept but when it is over."""
        call = RecordedCall(path, sent_ns, sent_ns, method=method, read=read, work=find_work(path))
        if self._open:
            self._calls.append(call)
        else:
            call.ended = True
            self._leave(call)
            self.outside += read or not is_harmless(path)
        return call

    def _leave(self, call: RecordedCall) -> None:
        """Notes a call that goes on and belongs to no test any more."""
        if call.read or not is_harmless(call.path):
            self._left_over.append(call)

    def keeps_body(self, call: RecordedCall) -> bool:
        """Whether the body of a request is wanted, for its prompt: not that of a call that generates no text."""
        return call.read or not is_harmless(call.path)

    def take_body(self, call: RecordedCall, body: Sequence[bytes]) -> None:
        """Takes the whole body of a request. While a test is measured, it is read when the call is taken."""
        if not call.ended:
            call.body = b"".join(body)
            self._kept += len(call.body)
        elif call.work == "text":
            prompt = parse_prompt(call.path, decode_body(b"".join(body), call.body_encoding), self.obeyed)
            self.prompts_outside += [prompt] if prompt is not None else []

    def add_content(self, call: RecordedCall, at_ns: int, content: Sequence[bytes]) -> None:
        """Adds a piece of the answer. A call whose answer exceeds the capacity ends with that fault and no pieces."""
        if call.ended:
            return
        call.end_ns = at_ns
        if not call.read:
            return
        if call.work == "embed" and call.content_encoding in ("", "identity"):
            content = [thin_out(piece) for piece in content]
        size = sum(map(len, content))
        if self._kept + size > self._capacity:
            self.end(call, at_ns, f"not measured: the relay keeps {self._capacity >> 20} MiB of a test's answers")
            call.pieces.clear()
            return
        self._kept += size
        call.pieces += [(at_ns, piece) for piece in content]

    def end(self, call: RecordedCall, at_ns: int, fault: str = "", *, by_app: bool = False) -> None:
        """Ends a call, with a ``fault`` if its answer is not complete; only the first end counts."""
        if call.ended:
            call.over_ns = call.over_ns or at_ns
        else:
            call.end_ns, call.fault, call.by_app, call.ended = at_ns, fault, by_app, True

    @property
    def in_flight(self) -> bool:
        """Whether a call that is read has not ended yet."""
        return any(call.read and not call.ended for call in self._calls)

    @property
    def running_since(self) -> list[int]:
        """When each call that is read and has not ended was sent, in ns."""
        return [call.sent_ns for call in self._calls if call.read and not call.ended]

    @property
    def left_over(self) -> list[int]:
        """When each call was sent that is not the test's and has run since it began, in ns."""
        return [call.sent_ns for call in self._left_over if not call.over_ns or call.over_ns > self._opened_ns]

    def take(self, at_ns: int, *, final: bool) -> list[RecordedCall]:
        """Takes the calls that have ended; ``final`` ends those in flight, takes them too, and stops the recording."""
        if final:
            for call in self._calls:
                if not call.ended:
                    self.end(call, at_ns, UNENDED, by_app=True)
                    self._leave(call)
            self._open, self._kept = False, 0
        taken = [call for call in self._calls if call.ended]
        for call in taken:
            self._read_body(call)
        self._calls = [call for call in self._calls if not call.ended]
        return taken

    def _read_body(self, call: RecordedCall) -> None:
        """Notes what the body of a request asks for, and drops it."""
        body = decode_body(call.body, call.body_encoding)
        content = parse_body(body)
        if call.work != "text":
            # Texts that are embedded are no prompts, and leave nothing in a prompt cache for any.
            call.asked_inputs = count_asked_inputs(call.work, content or {})
            call.asked_results = count_asked_results(call.work, content or {})
        elif content is None:
            call.prompt = parse_prompt(call.path, body, self.obeyed)
        else:
            call.prompt = find_prompt(call.path, content, self.obeyed)
            call.asked_tokens, call.full_length = read_asked_tokens(content), is_told_to_go_on(content)
            call.several, call.count_fault = asks_for_several(content), check_best_of(content)
            call.adapter = read_adapters(content)
        call.body = b""
