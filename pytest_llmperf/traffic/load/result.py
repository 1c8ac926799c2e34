"""The result of a load: which requests are judged, what was asked for, and what came."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from pytest_llmperf.measurement.load import Load, Spread
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.traffic.answers.asked import check_asked, check_full_length
from pytest_llmperf.traffic.client.request import RequestFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.request import Phase, RequestTiming
    from pytest_llmperf.traffic.load.process import LoadOutcome
    from pytest_llmperf.traffic.load.schedule import Schedule
    from pytest_llmperf.traffic.workloads.workload import Workload


@dataclass(frozen=True)
class LoadResult:
    """What ``llm_client.run`` returns for a workload.

    Attributes:
        requests: the timings of all requests that were sent, in the order of their starts.
        load: what was asked for and what came, beside the requests.
    """

    requests: tuple[RequestTiming, ...]
    load: Load

    @property
    def answered(self) -> tuple[RequestTiming, ...]:
        """The requests with a complete answer."""
        return tuple(r for r in self.requests if r.error is None)

    @property
    def failed(self) -> tuple[RequestTiming, ...]:
        """The requests without a complete answer; ``error`` says why."""
        return tuple(r for r in self.requests if r.error is not None)

    @property
    def has_failed(self) -> bool:
        """Whether it was stopped, or more of its requests failed than ``max_error_rate`` tolerates."""
        failed = self.failed
        return bool(failed) and len(failed) > self.load.max_error_rate * len(self.requests)

    def check_failures(self) -> None:
        """Raises if the load has failed.

        Raises:
            RequestFailed: a larger share of the requests failed than ``max_error_rate`` tolerates.
        """
        if self.has_failed:
            failed = self.failed
            text = f"{len(failed)} of {len(self.requests)} requests failed, the first with: {failed[0].error}"
            raise RequestFailed(text, failed[0])


class Asked(NamedTuple):
    """What one request asked for.

    Attributes:
        output_tokens: the most tokens of the answer.
        prompt_tokens: the tokens that its prompt was made for; None for a prompt that was given.
        full_length: whether the server was told to end the answer there and not earlier.
        adapter: the adapter in place of the model itself; "" for the model.
    """

    output_tokens: int
    prompt_tokens: int | None = None
    full_length: bool = False
    adapter: str = ""


def summarize(workload: Workload, schedule: Schedule, wanted: Sequence[Asked], outcome: LoadOutcome) -> LoadResult:
    """Combines what was asked for with the outcome of the load. ``wanted`` holds it for each request number."""
    numbered = sorted(outcome.timings.items(), key=lambda item: item[1].start_ns)
    asked = [wanted[number] for number, _ in numbered]
    timings = [timing for _, timing in numbered]
    phases, steady = split_phases(timings, schedule, outcome.begun_ns)
    requests = tuple(
        replace(_hold_against(timing, one), phase=phase)
        for timing, one, phase in zip(timings, asked, phases, strict=True)
    )
    answered = [(one, r) for one, r in zip(asked, requests, strict=True) if r.error is None]
    load = Load(
        asked=f"{workload}; {schedule}",
        plan={**workload.describe(), **schedule.describe()},
        steady=steady,
        health=outcome.health,
        fault=_find_fault(requests, steady, outcome),
        stopped=outcome.stopped,
        max_error_rate=schedule.max_error_rate,
        prompt_asked=Spread.of([one.prompt_tokens for one in asked if one.prompt_tokens is not None]),
        prompt_came=Spread.of([r.prompt_tokens for _, r in answered if r.prompt_tokens is not None]),
        output_asked=Spread.of([one.output_tokens for one in asked]),
        output_came=Spread.of([r.output_tokens for _, r in answered if r.output_tokens is not None]),
        full_answers=sum(1 for one, r in answered if r.output_tokens == one.output_tokens),
    )
    return LoadResult(requests, load)


def split_phases(
    requests: Sequence[RequestTiming], schedule: Schedule, begun_ns: int
) -> tuple[list[Phase], Window | None]:
    """The phase of each request of a load, and its steady part; None without one.

    ``requests`` are in the order of their starts, ``begun_ns`` is the start of the load.
    """
    judged = schedule.find_steady([request.start_ns for request in requests], begun_ns)
    return [_phase(place, judged) for place in range(len(requests))], _find_steady_window(requests, judged)


def _hold_against(timing: RequestTiming, wanted: Asked) -> RequestTiming:
    """The timing of a request with what was asked for, which the load client does not know, and what speaks against."""
    output, asked = timing.output_tokens, wanted.output_tokens
    return replace(
        timing,
        asked_tokens=asked,
        adapter=wanted.adapter,
        count_fault=timing.count_fault or check_asked(output, asked),
        error=timing.error or (check_full_length(output, asked) if wanted.full_length else "") or None,
    )


def _phase(place: int, judged: slice) -> Phase:
    if place < judged.start:
        return "warmup"
    return "steady" if place < judged.stop else "cooldown"


def _find_steady_window(requests: Sequence[RequestTiming], judged: slice) -> Window | None:
    """The window from the first judged request to the first of the cool-down, or to the last response without one."""
    if not requests[judged]:
        return None
    stop = requests[judged.stop].start_ns if judged.stop < len(requests) else max(r.end_ns for r in requests)
    return Window(requests[judged.start].start_ns, stop, "steady")


def _find_fault(requests: Sequence[RequestTiming], steady: Window | None, outcome: LoadOutcome) -> str:
    """Why the numbers of the load cannot be used, or ""."""
    if outcome.stopped:
        return f"the load was stopped after {len(requests)} requests: {outcome.stopped}"
    if not requests:
        return "the load sent no request"
    return "" if steady is not None else f"all {len(requests)} requests fell into ramp, warm-up and cool-down"
