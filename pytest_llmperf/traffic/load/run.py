"""``llm_client.run`` of a workload: prepared, carried out, shown while it runs, and recorded whatever becomes of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.load import Load
from pytest_llmperf.traffic.load.prepare import Preparation, conclude, over_http
from pytest_llmperf.traffic.load.process import LoadClientDied, LoadOutcome
from pytest_llmperf.traffic.workloads.tokenizing import texts_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.traffic.client.request import Server
    from pytest_llmperf.traffic.client.transport import Transport
    from pytest_llmperf.traffic.load.prepare import LoadResult
    from pytest_llmperf.traffic.load.process import Progress
    from pytest_llmperf.traffic.load.schedule import Schedule
    from pytest_llmperf.traffic.workloads.workload import Workload


def _ignore(_: object) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True)
class LoadSupport:
    """What engine and session do for loads.

    ``tokenizer`` counts the tokens of a text, special ones included; None where the engine cannot be asked.
    ``full_length`` is what a body carries so that answers are as long as asked, ``group_settings`` what it carries to
    share its prefix with a group only; without ``keeps_connections`` each request has a connection of its own.
    ``record`` is given each load, ``show`` a line that the next one replaces (an empty one takes it away), ``say`` a
    line that stays.
    """

    tokenizer: Callable[[str], int] | None = None
    full_length: Mapping[str, Any] = field(default_factory=dict)
    keeps_connections: bool = True
    group_settings: Callable[[str], Mapping[str, Any]] = lambda _: {}
    record: Callable[[Load], None] = _ignore
    show: Callable[[str], None] = _ignore
    say: Callable[[str], None] = _ignore


@dataclass(frozen=True)
class LoadRunner:
    """Runs workloads on one server: over HTTP by a process of its own, else by the ``transport`` of the engine."""

    server: Server
    url: str
    api_key: str
    timeout: float
    transport: Transport | None
    support: LoadSupport
    record: Callable[[RequestTiming], None]

    def run(self, workload: Workload, schedule: Schedule, settings: Mapping[str, Any]) -> LoadResult:
        """Everything that was sent is recorded before this returns or raises.

        Raises:
            RequestFailed: more requests failed than the load tolerates.
            LoadClientDied: the process that sent them ended.
            ValueError: an argument that cannot be measured; nothing has been sent then.
        """
        texts = texts_for(workload, self.support.tokenizer)
        settings = {**self.support.full_length, **settings}
        prepared = Preparation(workload, schedule, self.server, settings, self.support.group_settings, texts)
        _ = prepared.probe
        outcome = self._carry_out(prepared, workload, schedule)
        result = conclude(workload, schedule, prepared.turns, outcome)
        for timing in result.requests:
            self.record(timing)
        self.support.record(result.load)
        if outcome.interrupted:
            answered, sent = len(result.answered), len(result.requests)
            self.support.say(f"load interrupted: {sent} requests sent, {answered} answered, {sent - answered} not")
            raise KeyboardInterrupt
        return result.checked()

    def _carry_out(self, prepared: Preparation, workload: Workload, schedule: Schedule) -> LoadOutcome:
        if self.transport is not None:
            return _in_process(prepared, schedule, self.transport)
        server = {
            "url": self.url,
            "api_key": self.api_key,
            "timeout": self.timeout,
            "keep": self.support.keeps_connections,
        }
        try:
            return over_http(
                prepared, server, schedule, lambda progress: self.support.show(_line(progress, workload.requests))
            )
        except LoadClientDied as error:
            self.support.record(Load(f"{workload}; {schedule}", None, fault=str(error)))
            raise
        finally:
            self.support.show("")


def _line(progress: Progress, requests: int | None) -> str:
    whole = "" if requests is None else f" of {requests}"
    rate = progress.ended / progress.seconds if progress.seconds else 0.0
    under_way = progress.sent - progress.ended
    parts = [f"{progress.ended}{whole} requests ended", f"{under_way} under way", f"{progress.failed} failed"]
    return f"load: {', '.join(parts)}, {progress.seconds:.0f} s, {rate:.1f} req/s"


def _in_process(prepared: Preparation, schedule: Schedule, transport: Transport) -> LoadOutcome:
    if schedule.concurrency is None or schedule.ramp_s or schedule.duration_s is not None:
        raise ValueError(
            "this engine is not asked over HTTP and takes closed loops only: "
            "give concurrency, and leave out rate, ramp and duration"
        )
    scripts = [script for script, _ in prepared.timed()]
    if any(len(script.turns) > 1 for script in scripts):
        raise ValueError("this engine is not asked over HTTP and takes no chats of several turns: leave out turns")
    calls = [prepared.ask(script).call(transport) for script in scripts]
    prepared.turns += [script.turns[0] for script in scripts]
    begun_ns = time.monotonic_ns()
    interrupted = False
    try:
        transport.perform_all(calls, schedule.concurrency)
    except KeyboardInterrupt:
        interrupted = True
    timings = {number: call.answer().timing for number, call in enumerate(calls) if call.attempt.sent_ns}
    return LoadOutcome(timings, begun_ns, None, "it was interrupted" if interrupted else "", interrupted)
