"""The arguments of ``llm_client.capacity``, as a test writes them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pytest_llmperf.measurement.capacity.steps import SearchOptions
from pytest_llmperf.measurement.units import SHARE, check_count, parse
from pytest_llmperf.traffic.load.schedule import parse_rate

if TYPE_CHECKING:
    from pytest_llmperf.traffic.workloads.workload import Workload

_FEWEST_REQUESTS = 100


@dataclass(frozen=True)
class CapacityOptions:
    """How a search is asked for; :meth:`parse` reads it."""

    search: SearchOptions
    most_seconds: float
    max_error_rate: float


def parse_options(
    workload: Workload,
    *,
    start: str | None,
    lowest: str | None,
    highest: str | None,
    precision: str,
    until: Literal["decided"] | None,
    max_seconds: float,
    max_requests: int | None,
    max_error_rate: str,
) -> CapacityOptions:
    """Parses the arguments of a search with a workload.

    Raises:
        ValueError: one cannot be parsed, or contradicts another one or the workload; the message names it.
    """
    if workload.has_times:
        raise ValueError("capacity() sends at rates of its own, and this workload has timestamps: leave them out")
    if until not in (None, "decided"):
        raise ValueError(f"until={until!r} is not known: write 'decided', or leave it out")
    rates = {name: parse_rate(text, name) for name, text in _given(start=start, lowest=lowest, highest=highest)}
    in_order = [(name, rates[name]) for name in ("lowest", "start", "highest") if name in rates]
    for (name, rate), (other, more) in itertools.pairwise(in_order):
        if rate > more:
            raise ValueError(f"{name} is above {other}: {rate:g} and {more:g} requests per second")
    share = parse(precision, SHARE)
    if not 0.03 <= share <= 1:
        raise ValueError(f"precision={precision!r} must be from '3 %' to '100 %'")
    if isinstance(max_seconds, bool) or not isinstance(max_seconds, int | float) or not max_seconds > 0:
        raise ValueError(f"max_seconds={max_seconds!r} must be a number of seconds above 0")
    if max_requests is not None:
        check_count("max_requests", max_requests)
        if max_requests < _FEWEST_REQUESTS:
            raise ValueError(f"max_requests={max_requests} is too few for a search: at least {_FEWEST_REQUESTS}")
    return CapacityOptions(
        SearchOptions(
            start=rates.get("start"),
            lowest=rates.get("lowest"),
            highest=rates.get("highest"),
            precision=share,
            until_decided=until is not None,
            most_requests=max_requests,
        ),
        float(max_seconds),
        parse(max_error_rate, SHARE),
    )


def _given(**rates: str | None) -> list[tuple[str, str]]:
    return [(name, text) for name, text in rates.items() if text is not None]
