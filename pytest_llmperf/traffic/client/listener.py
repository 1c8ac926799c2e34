"""What a client tells of its work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from pytest_llmperf.measurement.cancelling.cancelled import CancelledRequest
    from pytest_llmperf.measurement.capacity.result import CapacityResult, SweepResult
    from pytest_llmperf.measurement.capacity.steps import SearchOptions, SearchStep
    from pytest_llmperf.measurement.load import Load
    from pytest_llmperf.measurement.prompts import Prompt
    from pytest_llmperf.measurement.request import RequestTiming

    EndRequest = Callable[[RequestTiming | None], None]
    EndLoad = Callable[[Load, Sequence[RequestTiming]], None]
    ListPrompts = Callable[[], Sequence[Prompt | None]]


class Growth(Protocol):
    """Decides how far a load grows."""

    def goes_on(self, load: Load, requests: Sequence[RequestTiming], seconds: float) -> bool:
        """Whether a load that has sent this much is to send a further stretch, which takes about so many seconds."""


class NoGrowth:
    """Decides at once: a load stays as it is."""

    def goes_on(self, load: Load, requests: Sequence[RequestTiming], seconds: float) -> bool:
        """Never."""
        return False


class Cancelling(Protocol):
    """A ``with`` block in which a test has a request cancelled on purpose; ``async with`` does the same."""

    @property
    def requests(self) -> Sequence[CancelledRequest]:
        """The requests of the block that were cancelled, in order of sending; known once the block has ended."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class SearchSteps(Protocol):
    """Decides the steps of a search for the highest rate, and takes what each has given."""

    def next_step(self) -> SearchStep | None:
        """What to send next; None once the search is over."""

    def add(self, step: SearchStep, load: Load, requests: Sequence[RequestTiming]) -> None:
        """Takes what a step has sent."""

    def describe(self) -> str:
        """What is known so far, in a few words; empty for nothing."""

    def finish(self, fault: str = "", ended: str = "") -> CapacityResult:
        """The result; ``fault`` says why nothing of it can be used, ``ended`` why the client ends it."""


class SweepLoads(Protocol):
    """Takes the loads of a sweep."""

    def add(self, load: Load, requests: Sequence[RequestTiming], concurrency: int | None, rate: float | None) -> None:
        """Takes what was sent at one rate, or with so many requests at a time."""

    def finish(self) -> SweepResult:
        """The result so far."""


class Ongoing(Protocol):
    """A request that has begun and not ended."""

    def describe_so_far(self, at_ns: int, error: str) -> RequestTiming:
        """The timing of the request as one that ends at ``at_ns`` with this ``error``. The request goes on."""


def _ignore(_: object) -> None:
    pass


@dataclass(frozen=True)
class ClientListener:
    """Functions that a client calls; by default each ignores its argument.

    Attributes:
        record: takes the timing of each request exactly once, failed and cancelled ones included, before the call
            returns or raises.
        record_load: takes each load.
        show: takes a line of progress that replaces the one before; an empty one removes it.
        say: takes a line that stays.
        begin: takes each request when it begins, and returns a function that takes its timing when it has ended, or
            None if it was never sent; ``record`` is not called then. None to be told of the ends only.
        begin_load: takes what is asked of a load when it begins, and a function that lists the prompts of its requests
            so far; returns a function that takes the load and the timings of its requests when it has ended. Neither
            ``record`` nor ``record_load`` is called then. None to be told of the ends only.
        begin_growth: called before a load that grows; returns what decides how far, or raises ValueError if the test
            has nothing to decide. None for a client of no test.
        expect_cancelled: called with how many seconds a cancelled request may take to end; returns the block in which
            one is expected. None for a client of no test.
        begin_step: as ``begin_load``, for a load of a search or a sweep, whose requests are in no other number.
        begin_capacity: called before a search with its options and the workload in words; returns what decides its
            steps, or raises ValueError. None for a client of no test.
        begin_sweep: called before a sweep with the workload in words; returns what takes its loads. None for a client
            of no test.
    """

    record: Callable[[RequestTiming], None] = _ignore
    record_load: Callable[[Load], None] = _ignore
    show: Callable[[str], None] = _ignore
    say: Callable[[str], None] = _ignore
    begin: Callable[[Ongoing], EndRequest] | None = None
    begin_load: Callable[[str, ListPrompts], EndLoad] | None = None
    begin_growth: Callable[[], Growth] | None = None
    expect_cancelled: Callable[[float], Cancelling] | None = None
    begin_step: Callable[[str, ListPrompts], EndLoad] | None = None
    begin_capacity: Callable[[SearchOptions, str], SearchSteps] | None = None
    begin_sweep: Callable[[str], SweepLoads] | None = None

    def register(self, request: Ongoing) -> EndRequest:
        """Registers a request that begins; returns the function to call when it has ended."""
        return self._end if self.begin is None else self.begin(request)

    def register_load(self, asked: str, prompts: ListPrompts) -> EndLoad:
        """Registers a load that begins; returns the function to call when it has ended."""
        return self._end_load if self.begin_load is None else self.begin_load(asked, prompts)

    def register_growth(self) -> Growth:
        """Registers a load that grows; returns what decides how far.

        Raises:
            ValueError: there is nothing to decide.
        """
        if self.begin_growth is None:
            raise ValueError("until='decided' is for the client of a test with budgets: this one belongs to no test")
        return self.begin_growth()

    def register_capacity(self, options: SearchOptions, asked: str) -> SearchSteps:
        """Registers a search for the highest rate; returns what decides its steps.

        Raises:
            ValueError: there is no test, or it has not begun.
        """
        if self.begin_capacity is None:
            raise ValueError("capacity() is for the client of a test, whose latency limits it holds")
        return self.begin_capacity(options, asked)

    def register_sweep(self, asked: str) -> SweepLoads:
        """Registers a sweep; returns what takes its loads.

        Raises:
            ValueError: there is no test, or it has not begun.
        """
        if self.begin_sweep is None:
            raise ValueError("sweep() is for the client of a test: this one belongs to no test")
        return self.begin_sweep(asked)

    def _end(self, timing: RequestTiming | None) -> None:
        if timing is not None:
            self.record(timing)

    def _end_load(self, load: Load, requests: Sequence[RequestTiming]) -> None:
        for timing in requests:
            self.record(timing)
        self.record_load(load)


SILENT = ClientListener()
