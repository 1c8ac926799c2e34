"""A load that grows: its stretches, each as long as the load would be without growing, joined into one load."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.load import ClientHealth, Lag, Spread
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.traffic.load.result import LoadResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.request import RequestTiming


def join_stretches(stretches: Sequence[LoadResult]) -> LoadResult:
    """One load of all requests; that of a single stretch is the stretch itself."""
    if len(stretches) == 1:
        return stretches[0]
    requests = tuple(request for stretch in stretches for request in stretch.requests)
    loads = [stretch.load for stretch in stretches]
    steady = [load.steady for load in loads if load.steady is not None]
    whole = replace(
        loads[0],
        steady=Window(steady[0].start_ns, steady[-1].end_ns, steady[0].name) if steady else None,
        stretches=tuple(steady),
        health=_join_health([load.health for load in loads if load.health is not None], requests),
        fault=next((load.fault for load in loads if load.fault), ""),
        stopped=next((load.stopped for load in loads if load.stopped), ""),
        prompt_asked=_join_spreads([load.prompt_asked for load in loads]),
        prompt_came=_join_spreads([load.prompt_came for load in loads]),
        output_asked=_join_spreads([load.output_asked for load in loads]),
        output_came=_join_spreads([load.output_came for load in loads]),
        full_answers=sum(load.full_answers for load in loads),
    )
    return LoadResult(requests, whole)


def _join_spreads(spreads: Sequence[Spread | None]) -> Spread | None:
    known = [spread for spread in spreads if spread is not None]
    if not known:
        return None
    count = sum(spread.count for spread in known)
    mean = sum(spread.mean * spread.count for spread in known) / count
    return Spread(min(s.least for s in known), mean, max(s.most for s in known), count)


def _join_health(healths: Sequence[ClientHealth], requests: Sequence[RequestTiming]) -> ClientHealth | None:
    """The worst of the processes that sent the stretches, and the lag of all requests behind their schedule."""
    if not healths:
        return None
    lags = [health.loop_lag for health in healths]
    late = [(r.sent_ns - r.scheduled_ns) / 1e9 for r in requests if r.scheduled_ns is not None]
    return replace(
        healths[0],
        loop_lag=Lag(*(max(getattr(lag, name) for lag in lags) for name in ("p50", "p90", "p99", "most"))),
        cpu_share=max(health.cpu_share for health in healths),
        schedule_lag=Lag.of(late),
        connections=sum(health.connections for health in healths),
    )
