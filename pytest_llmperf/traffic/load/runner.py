"""Runs a load: prepares its requests, has them sent, shows progress, and records everything that was sent."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.load import Load
from pytest_llmperf.traffic.answers.asked import is_told_to_go_on
from pytest_llmperf.traffic.client.api import FunctionName
from pytest_llmperf.traffic.client.transport import create_call
from pytest_llmperf.traffic.load.growth import join_stretches
from pytest_llmperf.traffic.load.preparation import Preparation
from pytest_llmperf.traffic.load.process import LoadClientDied, LoadOutcome, LoadProgress, run_load
from pytest_llmperf.traffic.load.result import Asked, summarize
from pytest_llmperf.traffic.load.wire import Plan
from pytest_llmperf.traffic.workloads.tokenizer import create_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_llmperf.measurement.prompts import Prompt
    from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint
    from pytest_llmperf.traffic.client.listener import ClientListener, Growth
    from pytest_llmperf.traffic.client.request import Call
    from pytest_llmperf.traffic.client.transport import Transport
    from pytest_llmperf.traffic.load.result import LoadResult
    from pytest_llmperf.traffic.load.schedule import Schedule
    from pytest_llmperf.traffic.workloads.workload import Workload

_KEPT_BYTES = 256 * 2**20
# Idle connections for an open loop: as many as it needs in a tenth of a second, within these bounds.
_RESERVE = (8, 256)
# A silence is shown beside the progress after so many seconds, and told in a line that stays after so many.
_SHOWN_SILENCE_S = 5.0
_TOLD_SILENCE_S = 30.0


class _Source:
    """Prepares the stretches of a workload one after another, by ``prepare``.

    Attributes:
        prepared: the requests of each stretch so far.
        calls: those of the last stretch, if ``create_calls`` makes them for this process to send.
    """

    def __init__(
        self,
        workload: Workload,
        prepare: Callable[[Workload], Preparation],
        create_calls: Callable[[Preparation], list[Call]] | None,
    ) -> None:
        self.workload = workload
        self.prepared: list[Preparation] = []
        self.calls: list[Call] = []
        self._prepare = prepare
        self._create_calls = create_calls

    def prepare_stretch(self) -> Preparation:
        """Prepares the next stretch."""
        number = len(self.prepared)
        prepared = self._prepare(self.workload.grow(number) if number else self.workload)
        if self._create_calls is not None:
            self.calls = self._create_calls(prepared)
        self.prepared.append(prepared)
        return prepared

    def list_prompts(self) -> list[Prompt | None]:
        """The prompts of all stretches so far."""
        return [prompt for prepared in self.prepared for prompt in prepared.list_prompts()]


@dataclass(frozen=True)
class LoadRunner:
    """Runs workloads on one model: over HTTP in a process of its own, or by the ``transport`` that the engine has.

    ``timeout`` bounds, in seconds, the connecting and every single silence of the server.
    """

    endpoint: Endpoint
    dialect: Dialect
    listener: ClientListener
    timeout: float
    transport: Transport | None

    def run(self, workload: Workload, schedule: Schedule, settings: Mapping[str, Any]) -> LoadResult:
        """Runs a workload. The listener is told when it begins, and of all that was sent before this returns or raises.

        Raises:
            RequestFailed: a larger share of the requests failed than the schedule tolerates.
            LoadClientDied: the process that sends them ended.
            ValueError: an argument cannot be measured; nothing has been sent.
        """
        if schedule.grows and workload.repeats_prompts and settings.get("share_prefix"):
            raise ValueError(
                "until='decided' sends the same prompts again: share_prefix=True would answer them from the cache"
            )
        counter = self.dialect.create_counter(self.endpoint, shared=bool(settings.get("share_prefix")))
        texts = create_texts(workload, counter)
        settings = {**self.dialect.full_length, **settings}
        # Another run under the same seed must not find the prefixes of this one.
        run = secrets.token_hex(8)
        source = _Source(
            workload,
            lambda part: Preparation(part, schedule, self.endpoint, self.dialect, settings, texts, run),
            None if self.transport is None else partial(_create_calls, schedule=schedule, transport=self.transport),
        )
        prepared = source.prepare_stretch()
        first = prepared.first_post
        if self.transport is None:
            self._plan(prepared, schedule)  # refuses what cannot be sent before the load is registered
        if self.dialect.check_room is not None:
            self.dialect.check_room(self.endpoint, first.body)
        growth = self.listener.register_growth() if schedule.grows else None
        asked = f"{workload}; {schedule}"
        end = self.listener.register_load(asked, source.list_prompts)
        try:
            result, interrupted = self._send_stretches(source, schedule, growth)
        except BaseException as error:
            plan = {**workload.describe(), **schedule.describe()}
            end(Load(asked, None, fault=_describe_loss(error), plan=plan), ())
            raise
        end(result.load, result.requests)
        if interrupted:
            answered, sent = len(result.answered), len(result.requests)
            self.listener.say(f"load interrupted: {sent} requests sent, {answered} answered, {sent - answered} not")
            raise KeyboardInterrupt
        result.check_failures()
        return result

    def _send_stretches(self, source: _Source, schedule: Schedule, growth: Growth | None) -> tuple[LoadResult, bool]:
        """Sends the workload, and further stretches of it for as long as ``growth`` wants.

        Returns what was sent as one load, and whether it was interrupted.
        """
        workload = source.workload
        begun = time.monotonic()
        stretches: list[LoadResult] = []
        while True:
            prepared = source.prepared[-1]
            if self.transport is None:
                outcome = self._run_over_http(prepared, workload, schedule)
            else:
                outcome = _run_in_process(source.calls, schedule.concurrency or 1, self.transport)
            stretches.append(summarize(workload, schedule, prepared.asked, outcome))
            result = join_stretches(stretches)
            seconds = (time.monotonic() - begun) / len(stretches)
            if growth is None or outcome.interrupted or not _has_room(schedule, stretches) or result.has_failed:
                return result, outcome.interrupted
            if not growth.goes_on(result.load, result.requests, seconds):
                return result, False
            source.prepare_stretch()

    def _run_over_http(self, prepared: Preparation, workload: Workload, schedule: Schedule) -> LoadOutcome:
        silence = _Silence(self.listener.say)

        def show(progress: LoadProgress) -> None:
            silence.tell(progress)
            self.listener.show(_describe(progress, workload.requests))

        try:
            outcome = run_load(self._plan(prepared, schedule), prepared.generate_orders(), show)
        finally:
            self.listener.show("")
        prompts = prepared.prompts
        return replace(outcome, timings={n: replace(t, prompt=prompts.get(n)) for n, t in outcome.timings.items()})

    def _plan(self, prepared: Preparation, schedule: Schedule) -> Plan:
        post, users, keep = prepared.first_post, schedule.concurrency, self.dialect.keeps_connections
        path, body = prepared.translate(post)
        reserve = 0
        if users is None and keep:
            reserve = min(max(round((schedule.rate or 0.0) / 10), _RESERVE[0]), _RESERVE[1])
        return Plan(
            url=prepared.api.url,
            api_key=self.endpoint.api_key,
            timeout=self.timeout if post.timeout_s is None else post.timeout_s,
            headers=dict(post.headers),
            keep=keep,
            path=path,
            streamed=post.streamed,
            kept_bytes=_KEPT_BYTES,
            connections=reserve if users is None else users * keep,
            reserve=reserve,
            user_starts_ns=None if users is None else [round(at_s * 1e9) for at_s in schedule.list_user_starts()],
            duration_ns=None if schedule.duration_s is None else round(schedule.duration_s * 1e9),
            max_error_rate=schedule.max_error_rate or None,
            reader=FunctionName.of(prepared.api.read),
            length=prepared.api.find_length(body),
        )


def _describe(progress: LoadProgress, requests: int | None) -> str:
    whole = "" if requests is None else f" of {requests}"
    rate = progress.ended / progress.seconds if progress.seconds else 0.0
    in_flight = progress.sent - progress.ended
    parts = [f"{progress.ended}{whole} requests ended", f"{in_flight} in flight", f"{progress.failed} failed"]
    silence = _describe_silence(progress, _SHOWN_SILENCE_S)
    return f"load: {', '.join(parts)}, {progress.seconds:.0f} s, {rate:.1f} req/s{silence and f'; {silence}'}"


def _describe_silence(progress: LoadProgress, least_s: float) -> str:
    """What a load waits for, if nothing has moved for ``least_s`` seconds; else ""."""
    if progress.unheard_s >= least_s:
        return f"the load client has told nothing for {progress.unheard_s:.0f} s"
    if progress.silent_s >= least_s:
        return f"nothing has come from the engine for {progress.silent_s:.0f} s"
    return ""


class _Silence:
    """Says once of each long silence of a load what it waits for."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told = False

    def tell(self, progress: LoadProgress) -> None:
        silence = _describe_silence(progress, _TOLD_SILENCE_S)
        if silence and not self._told:
            self._say(f"load: {silence}, {progress.sent - progress.ended} requests in flight")
        self._told = bool(silence)


def _describe_loss(error: BaseException) -> str:
    """Why a load that ended without a result cannot be judged, in one line."""
    if isinstance(error, LoadClientDied):
        return str(error)
    cause = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return f"the load ended without its timings: {cause}"


def _has_room(schedule: Schedule, stretches: Sequence[LoadResult]) -> bool:
    """Whether a load may send as much again as its last stretch did."""
    sent = sum(len(stretch.requests) for stretch in stretches)
    return schedule.max_requests is None or sent + len(stretches[-1].requests) <= schedule.max_requests


def _create_calls(prepared: Preparation, schedule: Schedule, transport: Transport) -> list[Call]:
    """The requests of a load that this process sends itself.

    Raises:
        ValueError: the load is not one that it can send.
    """
    if schedule.concurrency is None or schedule.ramp_s or schedule.duration_s is not None:
        raise ValueError(
            "this engine is not asked over HTTP and takes closed loops only: "
            "give concurrency, and leave out rate, ramp and duration"
        )
    scripts = [script for script, _ in prepared.generate_scripts()]
    if any(len(script.turns) > 1 for script in scripts):
        raise ValueError("this engine is not asked over HTTP and takes no chats of several turns: leave out turns")
    posts = [prepared.build_post(script) for script in scripts]
    for script, post in zip(scripts, posts, strict=True):
        turn = script.turns[0]
        prepared.asked.append(Asked(turn.output_tokens, turn.prompt_tokens, is_told_to_go_on(post.body)))
    return [create_call(transport, post) for post in posts]


def _run_in_process(calls: Sequence[Call], concurrency: int, transport: Transport) -> LoadOutcome:
    begun_ns = time.monotonic_ns()
    interrupted = False
    try:
        transport.perform_all(calls, concurrency)
    except KeyboardInterrupt:
        interrupted = True
    timings = {number: call.answer().timing for number, call in enumerate(calls) if call.attempt.sent_ns}
    return LoadOutcome(timings, begun_ns, None, "it was interrupted" if interrupted else "", interrupted)
