"""Whether a measurement may be judged at all. It fails closed: what is invalid neither passes nor fails a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.budgets.client_lag import why_client_lags
from pytest_llmperf.budgets.host_pressure import why_starved
from pytest_llmperf.budgets.prompt_reuse import explain_prompt_reuse
from pytest_llmperf.budgets.server_clock import why_stamps_are_not_the_engines
from pytest_llmperf.budgets.stamp_bounds import keeps_objective
from pytest_llmperf.measurement.reading import Missing
from pytest_llmperf.measurement.unread import describe_unread
from pytest_llmperf.metrics.capacity import why_bounded, why_fault
from pytest_llmperf.metrics.energy import why_energy_doubtful
from pytest_llmperf.metrics.memory import find_host_trace, find_traces
from pytest_llmperf.metrics.metric import SampleSource
from pytest_llmperf.metrics.pages import why_untrusted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_llmperf.measurement.device_trace import DeviceTrace
    from pytest_llmperf.measurement.engine_info import Device
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.memory_trace import MemoryTrace
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.metrics.metric import Metric, Objective
    from pytest_llmperf.metrics.statistics import Statistic


_EXPECT = "if the test means to cancel, it does so inside of a block: with llm_client.expect_cancelled()"


def why_invalid(metric: Metric, measurement: Measurement) -> str:
    """Why no limit on a metric of this measurement can be judged, in one sentence; empty if it can."""
    if metric.known_before_test:
        return ""
    measurement = metric.select(measurement)
    faults = [*measurement.faults, _why_requests_failed(measurement), _why_no_tokens(measurement.requests)]
    if metric.source not in (SampleSource.REQUESTS, SampleSource.SEARCH):
        # What the engine holds or draws is that of all its requests.
        faults.append(_why_others_failed(measurement))
    faults += _find_source_faults(metric, measurement)
    if metric.needs_all_calls:
        faults.append(_why_unread(measurement))
    if metric.counts_tokens:
        faults.append(_why_tokens_were_lost(measurement))
    if metric.needs_prefill or metric.includes_prefill:
        faults.append(explain_prompt_reuse(measurement, part=not metric.needs_prefill))
    return "; ".join(text for text in faults if text)


def why_objectives_invalid(objectives: Sequence[Objective], measurement: Measurement) -> str:
    """Why no request can be said to have met the objectives, in one sentence; empty if it can."""
    reasons = (
        why_stamps_are_not_the_engines(objective.metric, None, measurement)
        for objective in objectives
        if not keeps_objective(objective, measurement)
    )
    return next(filter(None, reasons), "")


def why_disturbed(
    metric: Metric,
    measurement: Measurement,
    statistic: Statistic | None,
    *,
    holds: bool,
    is_sure: bool = False,
    is_sure_with_cores: bool = False,
) -> str:
    """Why something beside the engine may have decided whether a limit holds, in one sentence; empty if not.

    What can only make a number worse changes no PASS: other requests on the engine, a device that was slowed down, a
    host that kept the engine from computing, and for some metrics a client that was late.

    Args:
        holds: whether the limit holds.
        is_sure: whether it would hold, or be broken, as well without the lag of the client.
        is_sure_with_cores: the same had the engine never waited for a core.
    """
    if metric.known_before_test or metric.source in (SampleSource.NEXT_TOKENS, SampleSource.RECORDED):
        return ""
    found = [] if holds and metric.worse_with_others else [*measurement.disturbances]
    if metric.source is SampleSource.SEARCH:
        found += [] if holds else [why_bounded(measurement)]
    if metric.source in (SampleSource.REQUESTS, SampleSource.SEARCH):
        found += [] if holds and metric.worse_with_others else [_why_slow(measurement)]
        found += [] if is_sure_with_cores else [why_starved(measurement)]
    if metric.source is SampleSource.REQUESTS:
        found += (
            [] if is_sure or (holds and metric.worse_with_lag) else [why_client_lags(metric, statistic, measurement)]
        )
    return "; ".join(text for text in found if text)


def _find_source_faults(metric: Metric, measurement: Measurement) -> list[str]:
    """What is wrong with the samples that the metric is read from; texts may be empty."""
    match metric.source:
        case SampleSource.MEMORY_SAMPLES:
            return _list_trace_faults(find_traces(measurement))
        case SampleSource.HOST_SAMPLES:
            return _list_trace_faults(find_host_trace(measurement))
        case SampleSource.PAGES:
            return [why_untrusted(measurement, metric.name)]
        case SampleSource.SEARCH:
            return [why_fault(measurement)]
        case SampleSource.REQUESTS:
            return [_why_counts_doubtful(measurement.requests)]
        case SampleSource.ENERGY_COUNTERS:
            return [_why_counts_doubtful(measurement.requests), _find_first_fault(measurement, why_energy_doubtful)]
        case _:
            return []


def _list_trace_faults(traces: Sequence[tuple[Device | None, MemoryTrace]] | Missing) -> list[str]:
    return [] if isinstance(traces, Missing) else [trace.fault for _, trace in traces]


def _why_slow(measurement: Measurement) -> str:
    """Why the times and rates of a measurement are not the engine's own."""
    return _find_first_fault(measurement, lambda trace: trace.conditions.slowdown)


def _find_first_fault(measurement: Measurement, fault: Callable[[DeviceTrace], str]) -> str:
    return next((t.device.name_in(text) for t in measurement.devices if (text := fault(t))), "")


def _why_requests_failed(measurement: Measurement) -> str:
    requests = measurement.requests
    failed = [r.error for r in requests if r.error is not None]
    tolerated = min((load.max_error_rate for load in measurement.loads), default=0.0)
    if len(failed) <= tolerated * len(requests):
        return ""
    only_cancelled = all(r.cancelled for r in requests if r.error is not None)
    cure = f"; {_EXPECT}" if only_cancelled else ""
    return f"{len(failed)} of {len(requests)} requests failed, the first with: {failed[0]}{cure}"


def _why_others_failed(measurement: Measurement) -> str:
    """Why an engine did not do all that it was asked for beside text, in one sentence, or ""."""
    failed = [r.error for r in measurement.others if r.error is not None]
    if not failed:
        return ""
    asked = f"{len(measurement.others)} requests for embeddings or scores"
    return f"{len(failed)} of {asked} failed, the first with: {failed[0]}"


def _why_counts_doubtful(requests: Sequence[RequestTiming]) -> str:
    """Counts that cannot be those of what came say that the requests were not what the test takes them for."""
    found = [r.count_fault for r in requests if r.error is None and r.count_fault]
    if not found:
        return ""
    return f"the token counts of {len(found)} of {len(requests)} answers cannot be right, the first: {found[0]}"


def _why_unread(measurement: Measurement) -> str:
    """Calls whose answers were not read may have generated text, of which nothing is known."""
    unread = describe_unread(call for call in measurement.unread if not call.harmless)
    return f"the test sent {unread}" if unread else ""


def _why_tokens_were_lost(measurement: Measurement) -> str:
    """What a cancelled request has cost is measured, and its tokens are not counted."""
    count = len(measurement.cancelled)
    return f"the tokens of {count} cancelled request{'' if count == 1 else 's'} are not counted" if count else ""


def _why_no_tokens(requests: Sequence[RequestTiming]) -> str:
    # An engine that counts the end-of-sequence token says 1 of an empty answer: the stream shows that nothing came.
    empty = sum(1 for r in requests if r.error is None and (r.output_tokens == 0 or (r.streamed and not r.chunks)))
    return f"{empty} of {len(requests)} answers had no token" if empty else ""
