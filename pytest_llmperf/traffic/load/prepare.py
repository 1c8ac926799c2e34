"""A load from the workload to what is known of it: who sends it, which requests are judged, what was asked and came."""

from __future__ import annotations

import json
import math
import secrets
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.load import Load, Spread
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.traffic.client.request import RequestFailed, completion, conversation
from pytest_llmperf.traffic.load.process import LoadOutcome, Progress, run_load
from pytest_llmperf.traffic.load.wire import Order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_llmperf.measurement.request import Phase, RequestTiming
    from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint
    from pytest_llmperf.traffic.client.request import Post
    from pytest_llmperf.traffic.load.schedule import Schedule
    from pytest_llmperf.traffic.workloads.texts import Texts
    from pytest_llmperf.traffic.workloads.workload import Script, Turn, Workload

KEPT_BYTES = 256 * 2**20
# Connections that wait for an open loop: what it needs in a tenth of a second, within these bounds.
_RESERVE = (8, 256)


@dataclass(frozen=True)
class LoadResult:
    """What has come of a load: every request that was sent, in order of its start, and the load itself."""

    requests: tuple[RequestTiming, ...]
    load: Load

    @property
    def answered(self) -> tuple[RequestTiming, ...]:
        """Those that were answered in full."""
        return tuple(r for r in self.requests if r.error is None)

    @property
    def failed(self) -> tuple[RequestTiming, ...]:
        """Those that were not; ``error`` says why."""
        return tuple(r for r in self.requests if r.error is not None)

    def checked(self) -> LoadResult:
        """This result.

        Raises:
            RequestFailed: more failed than the load tolerates, or it had to be stopped.
        """
        failed = self.failed
        if failed and len(failed) > self.load.max_error_rate * len(self.requests):
            text = f"{len(failed)} of {len(self.requests)} requests failed, the first with: {failed[0].error}"
            raise RequestFailed(text, failed[0])
        return self


class Preparation:
    """A workload made into requests to one model, at the times of a schedule. ``settings`` go into each body."""

    def __init__(
        self,
        workload: Workload,
        schedule: Schedule,
        endpoint: Endpoint,
        dialect: Dialect,
        settings: Mapping[str, Any],
        texts: Texts | None,
    ) -> None:
        self._workload = workload
        self._schedule = schedule
        self._endpoint = endpoint
        self._dialect = dialect
        self._settings = settings
        self._texts = texts
        # Another run under the same seed must not find the prefixes of this one.
        self._run = secrets.token_hex(8)
        self.turns: list[Turn] = []

    def timed(self) -> Iterator[tuple[Script, int | None]]:
        """The scripts with their moments in ns from the start, None in a closed loop."""
        scripts = self._workload.scripts(self._texts)
        if not self._schedule.open:
            yield from ((script, None) for script in scripts)
            return
        moments: Iterator[tuple[Script, float]]
        if self._schedule.rate is None:
            moments = ((script, script.at_s or 0.0) for script in scripts)
        else:
            moments = zip(scripts, self._schedule.generate_arrivals(self._workload.seed), strict=False)
        end = math.inf if self._schedule.duration_s is None else self._schedule.duration_s
        for script, at_s in takewhile(lambda moment: moment[1] < end, moments):
            yield script, round(at_s * 1e9)

    def orders(self) -> Iterator[Order]:
        """What the load client is told, one order for each script; ``turns`` grows with them."""
        for script, due_ns in self.timed():
            post = self.post(script)
            number = len(self.turns)
            self.turns += script.turns
            further = [(turn.content, turn.output_tokens) for turn in script.turns[1:]]
            think_ns = round(script.think_s * 1e9)
            yield Order(number, json.dumps(post.body).encode(), due_ns, think_ns, post.shared_prefix, further)

    def post(self, script: Script) -> Post:
        """The first request of a script."""
        first = script.turns[0]
        settings = {**self._settings, "max_tokens": first.output_tokens}
        if script.group:
            # Below what the test itself says of the cache.
            settings = {**self._dialect.prefix_group(f"{self._run} {script.group}"), "share_prefix": True, **settings}
        make = conversation if self._workload.chat else completion
        return make(self._endpoint, self._dialect, first.content, settings)

    @cached_property
    def probe(self) -> Post:
        """The first request of all: raises for settings that cannot be measured before anything is sent."""
        first = next(self.timed(), None)
        if first is None:
            raise ValueError("no request falls into the duration: make it longer, or the rate higher")
        return self.post(first[0])


def over_http(
    preparation: Preparation, server: Mapping[str, Any], schedule: Schedule, tell: Callable[[Progress], None]
) -> LoadOutcome:
    """Carries out a load in a process of its own. ``server`` is the part of its plan that says whom to ask, and how."""
    post = preparation.probe
    users = schedule.concurrency
    reserve = 0
    if users is None and server["keep"]:
        reserve = min(max(round((schedule.rate or 0.0) / 10), _RESERVE[0]), _RESERVE[1])
    plan = {
        **server,
        "path": post.path,
        "streamed": post.streamed,
        "kept_bytes": KEPT_BYTES,
        "connections": reserve if users is None else users * server["keep"],
        "reserve": reserve,
        "begins": None if users is None else [round(begin * 1e9) for begin in schedule.list_user_starts()],
        "duration_ns": None if schedule.duration_s is None else round(schedule.duration_s * 1e9),
        "max_error_rate": schedule.max_error_rate or None,
    }
    return run_load(plan, preparation.orders(), tell)


def conclude(workload: Workload, schedule: Schedule, turns: Sequence[Turn], outcome: LoadOutcome) -> LoadResult:
    """What is known of a load once it has ended."""
    numbered = sorted(outcome.timings.items(), key=lambda item: item[1].start_ns)
    asked = [turns[number] for number, _ in numbered]
    timings = [timing for _, timing in numbered]
    starts = [timing.start_ns for timing in timings]
    judged = schedule.find_steady(starts, outcome.begun_ns)
    requests = tuple(replace(timing, phase=_phase(place, judged)) for place, timing in enumerate(timings))
    answered = [(turn, r) for turn, r in zip(asked, requests, strict=True) if r.error is None]
    output = [r.output_tokens for _, r in answered if r.output_tokens is not None]
    prompts = [turn.prompt_tokens for turn in asked if turn.prompt_tokens is not None]
    steady = _steady(requests, judged)
    load = Load(
        asked=f"{workload}; {schedule}",
        steady=steady,
        health=outcome.health,
        fault=_fault(requests, steady, outcome),
        stopped=outcome.stopped,
        max_error_rate=schedule.max_error_rate,
        prompt_asked=Spread.of(prompts),
        prompt_came=Spread.of([r.prompt_tokens for _, r in answered if r.prompt_tokens is not None]),
        output_asked=Spread.of([turn.output_tokens for turn in asked]),
        output_came=Spread.of(output),
        full_answers=sum(1 for turn, r in answered if r.output_tokens == turn.output_tokens),
    )
    return LoadResult(requests, load)


def _phase(place: int, judged: slice) -> Phase:
    if place < judged.start:
        return "warmup"
    return "steady" if place < judged.stop else "cooldown"


def _steady(requests: Sequence[RequestTiming], judged: slice) -> Window | None:
    """From the start of the first request that is judged to that of the cool-down's first, or to the last response."""
    if not requests[judged]:
        return None
    stop = requests[judged.stop].start_ns if judged.stop < len(requests) else max(r.end_ns for r in requests)
    return Window(requests[judged.start].start_ns, stop, "steady")


def _fault(requests: Sequence[RequestTiming], steady: Window | None, outcome: LoadOutcome) -> str:
    if outcome.stopped:
        return f"the load was stopped after {len(requests)} requests: {outcome.stopped}"
    if not requests:
        return "the load sent no request"
    return "" if steady is not None else f"all {len(requests)} requests fell into ramp, warm-up and cool-down"
