"""Limits that are for other engines or devices, where nothing else limits their metric here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.budgets.limit import matches
from pytest_llmperf.budgets.verdict import Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.measurement.engine_info import EngineInfo
    from pytest_llmperf.measurement.measurement import Measurement


def judge_overlooked(limits: Sequence[Limit], measurement: Measurement, run: Collection[str] = ()) -> list[Verdict]:
    """A NO BUDGET for each metric of which no limit applies, in a test of which others do.

    ``run`` has the names and labels of all engines of the run. Two things excuse a limit that does not apply. Its
    ``engine`` glob matches another engine of the run. Or the test names this engine too: limits for ``engine="vllm"``
    are no mistake on llamacpp if others of the test are for ``engine="llamacpp"``. The same holds for devices.
    """
    engines = [part.engine for part in measurement.parts] or [measurement.engine]
    here = [engine for engine in engines if engine is not None]
    applied = [limit for limit in limits if not here or any(limit.applies_to(engine) for engine in here)]
    judged = {limit.name for limit in applied}
    left: dict[str, list[Limit]] = {}
    for limit in limits:
        if applied and limit.name not in judged and not _is_excused(limit, applied, here, run):
            left.setdefault(limit.name, []).append(limit)
    return [_no_budget(same, here) for same in left.values()]


def _is_excused(limit: Limit, applied: Sequence[Limit], here: Sequence[EngineInfo], run: Collection[str]) -> bool:
    if limit.engine is None or any(engine.is_called(limit.engine) for engine in here):
        return any(other.device is not None for other in applied)
    return any(other.engine is not None for other in applied) or any(matches(name, limit.engine) for name in run)


def _no_budget(limits: Sequence[Limit], here: Sequence[EngineInfo]) -> Verdict:
    first = limits[0]
    where = " and ".join(dict.fromkeys(f"{engine.title} on {engine.device_name}" for engine in here))
    scopes = ", ".join(dict.fromkeys(limit.scope for limit in limits))
    return Verdict(
        Status.NO_BUDGET,
        first.name,
        first.metric,
        quantity=first.quantity,
        better=first.definition.better,
        reason=f"no limit of this test on {first.name} is for {where}; there is one for {scopes}: correct it, add one "
        "for here, or move it to a test of its own",
    )
