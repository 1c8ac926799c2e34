"""One request to a model: what it posts, its course, and its answer."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from pytest_llmperf.measurement.request import RequestTiming, StampLag
from pytest_llmperf.traffic.answers.answer import Answer, Arrival
from pytest_llmperf.traffic.answers.reading import read_or_fail
from pytest_llmperf.traffic.client.exchange import TransportCancelledError, TransportError
from pytest_llmperf.traffic.client.prompts import find_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from pytest_llmperf.measurement.prompts import Prompt
    from pytest_llmperf.measurement.request import Way, Work
    from pytest_llmperf.traffic.client.lag import Lateness


class RequestFailed(Exception):  # noqa: N818
    """A request was not answered in full; the message is one line, ``timing`` what was seen of it."""

    def __init__(self, message: str, timing: RequestTiming) -> None:
        super().__init__(message)
        self.timing = timing


class Attempt(Protocol):
    """One request and what has come of it so far, in a form that its transport can ``read``.

    ``pieces`` are the body's bytes as (stamp, bytes). ``sent_ns`` is 0 until it is sent. Stamps are
    ``time.monotonic_ns()``; ``late`` is how late they may be, None if that is not known.
    """

    path: str
    sent_ns: int
    end_ns: int
    late: Lateness | None

    @property
    def status(self) -> int | None: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def pieces(self) -> Sequence[tuple[int, bytes]]: ...


@dataclass
class Call:
    """One request on its way. ``read`` parses what it brings; ``fault`` is why it failed, empty while it has not.

    ``find_prompt`` digests its prompt, which takes a moment and is put off until no time is taken.
    ``cancelled`` says whether its client gave it up.
    ``asked_tokens`` are the most output tokens that it asks for, None without a limit; with ``full_length`` the server
    is told to end its answer there and not earlier.
    ``way`` is how it was asked, ``work`` what it has the engine do. ``asked_inputs`` are the texts that it has embedded
    or ranked, ``asked_results`` the vectors or scores that it wants of them.
    """

    attempt: Attempt
    read: Callable[[Arrival], Answer]
    find_prompt: Callable[[], Prompt | None]
    streamed: bool
    shared_prefix: bool = False
    fault: str = ""
    asked_tokens: int | None = None
    full_length: bool = False
    adapter: str = ""
    way: Way = "call"
    work: Work = "text"
    asked_inputs: int | None = None
    asked_results: int | None = None
    cancelled: bool = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Notes what goes wrong inside; a failure of the transport ends here, everything else goes on."""
        try:
            yield
        except TransportError as error:
            self.fault, self.cancelled = str(error), isinstance(error, TransportCancelledError)
        except Exception as error:
            self.fault = f"{type(error).__name__}: {error}"
            raise
        except BaseException as error:
            self.fault, self.cancelled = "cancelled", isinstance(error, asyncio.CancelledError)
            raise
        finally:
            if self.fault:
                self.attempt.end_ns = time.monotonic_ns()

    def answer(self) -> Answer:
        """What has come, with the reason in ``timing.error`` where it is not all."""
        attempt = self.attempt
        arrival = Arrival(
            sent_ns=attempt.sent_ns,
            end_ns=attempt.end_ns,
            pieces=attempt.pieces,
            status=attempt.status,
            content_type=attempt.headers.get("content-type", ""),
            streamed=self.streamed,
            shared_prefix=self.shared_prefix,
            fault=self.fault,
            asked_tokens=self.asked_tokens,
            full_length=self.full_length,
            asked_inputs=self.asked_inputs,
            asked_results=self.asked_results,
        )
        answer = read_or_fail(self.read, arrival)
        late = attempt.late
        lag = None if late is None else StampLag(self.way, late.sending_ns, late.reading_ns)
        cancelled = self.cancelled and answer.timing.error is not None
        timing = replace(answer.timing, prompt=self.find_prompt(), lag=lag, cancelled=cancelled, work=self.work)
        timing = replace(timing, adapter=self.adapter)
        return replace(answer, timing=timing)

    def describe_so_far(self, at_ns: int, error: str) -> RequestTiming:
        """The timing of the request as one that ends at ``at_ns`` with this ``error``. The request goes on."""
        return RequestTiming(
            sent_ns=min(self.attempt.sent_ns or at_ns, at_ns),
            end_ns=at_ns,
            streamed=self.streamed,
            status=self.attempt.status,
            error=error,
            shared_prefix=self.shared_prefix,
            prompt=self.find_prompt(),
            work=self.work,
        )

    def check(self, answer: Answer) -> Answer:
        """The answer.

        Raises:
            RequestFailed: it is not complete.
        """
        if answer.timing.error is not None:
            raise RequestFailed(f"POST {self.attempt.path}: {answer.timing.error}", answer.timing)
        return answer


@dataclass(frozen=True)
class Post:
    """What one request posts, checked: ``path`` below the base URL, and its body.

    ``fresh`` says that the body keeps the prompt from being taken from a cache, in the engine's own words, and
    ``obeyed`` are the fields by which the engine keeps prompts apart in its cache. ``headers`` are those of this
    request beside the client's own. ``timeout_s`` bounds, in seconds, the connecting and every single silence of the
    server; None for the client's timeout. ``work`` is what it has the engine do.
    """

    path: str
    body: Mapping[str, Any]
    streamed: bool
    shared_prefix: bool
    fresh: bool = False
    obeyed: Collection[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float | None = None
    work: Work = "text"

    def find_prompt(self) -> Prompt | None:
        """Digests of its prompt; None if that cannot be read, and of texts that are embedded or ranked."""
        if self.work != "text":
            return None
        return find_prompt(self.path, self.body, self.obeyed, fresh=self.fresh, shared=self.shared_prefix)
