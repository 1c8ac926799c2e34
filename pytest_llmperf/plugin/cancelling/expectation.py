"""The block in which a test expects requests to be cancelled, and what came of them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol, Self

import pytest

from pytest_llmperf.plugin.cancelling.notice import describe_cancelled, has_ended
from pytest_llmperf.plugin.cancelling.watch import RunningWatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.measurement.cancelling.cancelled import CancelledRequest
    from pytest_llmperf.measurement.request import RequestTiming

CALL = "llm_client.expect_cancelled()"
# A server in another process may need a moment to see that a connection was closed.
_IN_LOOP_S = 1.0
_PAUSE_S = 0.005


class SentRequests(Protocol):
    """What a test has sent."""

    def list_ended(self, engine: Engine, since_ns: int) -> list[RequestTiming]:
        """The requests to an engine that were sent since a moment and have ended, the app's own calls included."""

    def count_running_since(self, since_ns: int) -> int:
        """How many requests that were sent since a moment have not ended, as of the last call of ``list_ended``."""


class Expectation:
    """A ``with`` block whose cancelled requests are no failures; ``async with`` does the same.

    Its end waits up to ``within_s`` seconds until the requests of the block have ended and the engine works on no
    cancelled one, and fails the test if none was cancelled.

    Attributes:
        engine: the engine whose requests it is about.
        fault: why it was not fulfilled, in one sentence; empty if it was, and while the block runs.
    """

    def __init__(self, engine: Engine, sent: SentRequests, within_s: float) -> None:
        self.engine = engine
        self.fault = ""
        self._sent = sent
        self._within_s = within_s
        self._watch = RunningWatch(engine)
        self._start_ns = 0
        self._end_ns: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether the block has begun and not ended."""
        return bool(self._start_ns) and self._end_ns is None

    def covers(self, engine: Engine, request: RequestTiming) -> bool:
        """Whether a request is one that it expected to be cancelled, and was."""
        begun = self._start_ns and request.sent_ns >= self._start_ns
        return bool(
            request.cancelled
            and engine is self.engine
            and begun
            and (self._end_ns is None or request.sent_ns < self._end_ns)
        )

    def describe(self, request: RequestTiming, others: Sequence[RequestTiming]) -> CancelledRequest:
        """What came of a request that it covers; ``others`` are the further requests to its engine."""
        return describe_cancelled(request, self._watch.looks, others)

    @property
    def requests(self) -> tuple[CancelledRequest, ...]:
        """The requests of the block that were cancelled, in order of sending.

        Raises:
            RuntimeError: the block has not ended.
        """
        if self._end_ns is None:
            raise RuntimeError(f"{CALL}: its requests are known once the with block has ended")
        return tuple(self.describe(one, others) for one, others in self._pair_with_others())

    def _pair_with_others(self) -> list[tuple[RequestTiming, list[RequestTiming]]]:
        """The cancelled requests in order of sending, each with the further ones to the engine."""
        ended = self._sent.list_ended(self.engine, self._start_ns)
        ours = sorted((one for one in ended if self.covers(self.engine, one)), key=lambda one: one.sent_ns)
        return [(one, [other for other in ended if other is not one]) for one in ours]

    # ------------------------------------------------------------------------------------------------ as a with block

    def __enter__(self) -> Self:
        if self._start_ns:
            raise RuntimeError(f"{CALL} is one block: call it again for another one")
        self._start_ns = time.monotonic_ns()
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self._end_ns = time.monotonic_ns()
        try:
            if error is None:
                for pause_s in self._wait():
                    time.sleep(pause_s)
        finally:
            self._watch.stop()
        self._fail()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self._end_ns = time.monotonic_ns()
        try:
            if error is None:
                for pause_s in self._wait(yields=True):
                    await asyncio.sleep(pause_s)
        finally:
            self._watch.stop()
        self._fail()

    def _fail(self) -> None:
        __tracebackhide__ = True
        if self.fault:
            pytest.fail(self.fault)

    def _wait(self, *, yields: bool = False) -> Iterator[float]:
        """Yields the pauses in which to wait for the requests of the block and for the engine.

        ``yields`` says that an event loop goes on meanwhile.
        """
        begun = time.monotonic()
        deadline, blocked = begun + self._within_s, not yields and _is_in_loop()
        self._watch.hurry()
        while True:
            found = self._pair_with_others()
            running = self._sent.count_running_since(self._start_ns)
            now = time.monotonic()
            if running and (now >= deadline or (blocked and now >= begun + _IN_LOOP_S)):
                self.fault = self._explain_running(running, now - begun, blocked=blocked)
                return
            if not running and not found:
                self.fault = self._explain_whole()
                return
            looks = self._watch.looks
            if not running and (now >= deadline or all(has_ended(one, looks, others) for one, others in found)):
                return
            yield _PAUSE_S

    def _explain_running(self, running: int, seconds: float, *, blocked: bool) -> str:
        what = "1 request of the block was" if running == 1 else f"{running} requests of the block were"
        cure = (
            "; the event loop stands still at the end of a with block: await the cancelled task inside of it, or write "
            "async with"
        )
        return f"{CALL}: {what} still running {seconds:.3g} s after its end{cure if blocked else ''}"

    def _explain_whole(self) -> str:
        ended = [one for one in self._sent.list_ended(self.engine, self._start_ns) if self._is_inside(one)]
        if not ended:
            return f"{CALL}: no request was sent to {self.engine.title} inside of the block"
        failed = next((one.error for one in ended if one.error is not None), None)
        if failed is not None:
            return f"{CALL}: no request of the block was cancelled, and one failed: {failed}"
        whole = "the request of the block was" if len(ended) == 1 else f"the {len(ended)} requests of the block were"
        return f"{CALL}: {whole} answered in full and not cancelled"

    def _is_inside(self, request: RequestTiming) -> bool:
        return request.sent_ns >= self._start_ns and (self._end_ns is None or request.sent_ns < self._end_ns)


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class NothingExpected:
    """The block of a client whose test is not measured: it checks nothing."""

    @property
    def requests(self) -> tuple[CancelledRequest, ...]:
        """None are known: the test is skipped."""
        pytest.skip("nothing is measured under --llmperf-disable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
