"""``llm_client.run`` of a workload: prepared, carried out, shown while it runs, and recorded whatever becomes of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.load import Load
from pytest_llmperf.traffic.client.transport import create_call
from pytest_llmperf.traffic.load.prepare import Preparation, conclude, over_http
from pytest_llmperf.traffic.load.process import LoadClientDied, LoadOutcome
from pytest_llmperf.traffic.workloads.tokenizing import texts_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint
    from pytest_llmperf.traffic.client.listener import ClientListener
    from pytest_llmperf.traffic.client.transport import Transport
    from pytest_llmperf.traffic.load.prepare import LoadResult
    from pytest_llmperf.traffic.load.process import Progress
    from pytest_llmperf.traffic.load.schedule import Schedule
    from pytest_llmperf.traffic.workloads.workload import Workload


@dataclass(frozen=True)
class LoadRunner:
    """Runs workloads on one server, in a process of its own over HTTP, or by ``transport`` where the engine has one."""

    endpoint: Endpoint
    dialect: Dialect
    listener: ClientListener
    timeout: float
    transport: Transport | None

    def run(self, workload: Workload, schedule: Schedule, settings: Mapping[str, Any]) -> LoadResult:
        """Everything that was sent is recorded before this returns or raises.

        Raises:
            RequestFailed: more requests failed than the load tolerates.
            LoadClientDied: the process that sent them ended.
            ValueError: an argument that cannot be measured; nothing has been sent then.
        """
        texts = texts_for(workload, self.dialect.tokenizer(self.endpoint))
        settings = {**self.dialect.full_length, **settings}
        prepared = Preparation(workload, schedule, self.endpoint, self.dialect, settings, texts)
        _ = prepared.probe
        outcome = self._carry_out(prepared, workload, schedule)
        result = conclude(workload, schedule, prepared.turns, outcome)
        for timing in result.requests:
            self.listener.record(timing)
        self.listener.record_load(result.load)
        if outcome.interrupted:
            answered, sent = len(result.answered), len(result.requests)
            self.listener.say(f"load interrupted: {sent} requests sent, {answered} answered, {sent - answered} not")
            raise KeyboardInterrupt
        return result.checked()

    def _carry_out(self, prepared: Preparation, workload: Workload, schedule: Schedule) -> LoadOutcome:
        if self.transport is not None:
            return _in_process(prepared, schedule, self.transport)
        server = {
            "url": self.endpoint.base_url,
            "api_key": self.endpoint.api_key,
            "timeout": self.timeout,
            "keep": self.dialect.keeps_connections,
        }
        try:
            return over_http(
                prepared, server, schedule, lambda progress: self.listener.show(_line(progress, workload.requests))
            )
        except LoadClientDied as error:
            self.listener.record_load(Load(f"{workload}; {schedule}", None, fault=str(error)))
            raise
        finally:
            self.listener.show("")


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
    calls = [create_call(transport, prepared.post(script)) for script in scripts]
    prepared.turns += [script.turns[0] for script in scripts]
    begun_ns = time.monotonic_ns()
    interrupted = False
    try:
        transport.perform_all(calls, schedule.concurrency)
    except KeyboardInterrupt:
        interrupted = True
    timings = {number: call.answer().timing for number, call in enumerate(calls) if call.attempt.sent_ns}
    return LoadOutcome(timings, begun_ns, None, "it was interrupted" if interrupted else "", interrupted)
