"""Plots whose names have little room: many devices, long and hostile names, limits and changes beside one another."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from pytest_llmperf.budgets.interval import Interval
from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.measurement.distribution import Distribution
from pytest_llmperf.measurement.units import REQUESTS_PER_SECOND, SECONDS
from pytest_llmperf.reports.plots.curves import Axis, Curve, CurvePoint, draw_curves
from pytest_llmperf.reports.plots.distribution import draw_distribution
from pytest_llmperf.reports.plots.host_strip import draw_host_strip
from pytest_llmperf.reports.plots.kv_cache import draw_kv_cache
from pytest_llmperf.reports.plots.lanes import draw_key
from pytest_llmperf.reports.plots.memory import draw_memory
from pytest_llmperf.reports.plots.pair import draw_pair
from pytest_llmperf.reports.plots.trend import draw_trend
from pytest_llmperf.reports.wire.histogram import make_histogram
from tests.helpers.verdicts import verdict

GIB = 2**30
HOSTILE = "<script>alert(1)</script> مرحبا بالعالم 超長い名前超長い名前"


def make_measurement(
    memory: dict[str, list[list[float]]] | None = None,
    lanes: list[list[Any]] | None = None,
    seconds: float = 10.0,
    **series: Any,
) -> dict[str, Any]:
    """What the plots read of a measurement in its wire form."""
    failed = sum(lane[3] == "failed" for lane in lanes or [])
    return {
        "window": {"name": "test", "seconds": seconds},
        "series": {"start_s": 0.0, "end_s": seconds, "memory": memory or {}, **series},
        "lanes": lanes or [],
        "lanes_of": len(lanes or []),
        "requests": {"total": len(lanes or []), "failed": failed},
        "readings": {"memory.peak": {"value": 1.0}},
    }


def make_distribution(values: list[float], requests: int | None = None) -> dict[str, Any]:
    """A distribution in its wire form."""
    ordered = sorted(values)
    return {
        "count": len(ordered),
        "requests": requests or len(ordered),
        "min": ordered[0],
        "mean": sum(ordered) / len(ordered),
        "histogram": make_histogram(Distribution([ordered])),
    }


def draw_crowded_plots() -> list[str]:
    """One plot or several of each kind."""
    return [draw_key(), *_draw_over_time(), *_draw_distributions(), _draw_pair(), _draw_trend(), _draw_curves()]


def _limit_memory(name: str, limit: float, text: str, measured: float, status: Status = Status.PASS) -> Verdict:
    return verdict(status, f"memory.{name}", f"memory.{name}", limit, text, measured)


def _draw_over_time() -> list[str]:
    peak = _limit_memory("peak", 16 * GIB, "16 GiB", 15.99 * GIB)
    growth = _limit_memory("growth", 2 * GIB, "2 GiB", 2.01 * GIB, Status.FAIL)
    far = [_limit_memory(name, 400 * GIB, "400 GiB", GIB) for name in ("peak", "growth")]
    host = _limit_memory("host_peak", 4 * GIB, "4 GiB", 3 * GIB)
    devices = {f"NVIDIA H100 80GB HBM3 #{at}": [[0.0, 70 * GIB + at * 2**28], [10.0, 71 * GIB]] for at in range(8)}
    two: dict[str, list[list[float]]] = {"L4": [[0, 14 * GIB], [10, 14 * GIB]], "host": [[0, 2 * GIB], [10, 3 * GIB]]}
    lanes = [[at * 0.1, at * 0.1 + 1, at * 0.1 + 3, ("failed", "short")[at % 3 > 0], 0.02] for at in range(60)]
    thinned = [[at * 0.1, at * 0.1 + 0.04, at * 0.1 + 0.17, ("failed", "short")[at > 0], None] for at in range(90)]
    single = [[at * 0.1, at * 0.1 + 0.04, at * 0.1 + 0.08, ("failed", "short")[at > 0], None] for at in range(90)]
    samples = [
        (make_measurement(devices), [peak]),
        (make_measurement({HOSTILE: [[0, 14 * GIB], [10, 14.1 * GIB]]}, lanes[:1]), [peak, growth]),
        (make_measurement({"L4": [[0, 14 * GIB], [2, 15.99 * GIB], [10, 14 * GIB]]}, lanes), [peak, growth]),
        (make_measurement(two), [peak, growth, host]),
        *((make_measurement({"L4": [[0, 14 * GIB], [10, 14.1 * GIB]]}, some), [peak]) for some in (thinned, single)),
        (make_measurement({"host": [[0, GIB], [5, 1.0001 * GIB], [10, GIB]]}, lanes[:1], 0.001), far),
    ]
    state = make_measurement(
        clocks={f"GPU {at}": [[0.0, 1980], [10.0, 1410]] for at in range(3)},
        throttle=[[at, at + 0.5, "hardware thermal slowdown"] for at in range(9)],
        pressure=[[0.0, 1.0], [10.0, 1.0]],
        kv=[[0.0, 0], [1.0, GIB]],
    )
    limits = [_limit_memory("kv_cache", times * GIB, f"{times} GiB", GIB) for times in (1, 9)]
    kv = [draw_kv_cache(state, [limit]) for limit in limits]
    return [*(draw_memory(*sample) for sample in samples), draw_host_strip(state), *kv]


def _draw_distributions() -> list[str]:
    even = make_distribution([0.1 + place / 5000 for place in range(1000)])
    wide = make_distribution([10 ** (place / 100 - 4) for place in range(600)])
    metric = "latency.ttft"
    limits = []
    marks = (("p50", 0.2, 0.19, 0.21), ("p95", 0.29, 0.28, None), ("p99_9", 0.299, None, 0.3))
    for name, measured, low, high in marks:
        found = verdict(Status.INCONCLUSIVE, f"{metric}_{name}", metric, measured, f"{measured * 1e3:g} ms", measured)
        limits.append(replace(found, interval=Interval(low, high, 400, 400.0, "request")))
    return [
        draw_distribution(metric, even, limits),
        draw_distribution(metric, wide, limits),
        draw_distribution("a.metric_of_another_package_with_a_very_long_name", even, [], "things"),
    ]


def _draw_pair() -> str:
    metrics = ("latency.ttft", "latency.e2e", "latency.itl")
    verdicts = []
    for metric, share in zip(metrics, (0.0, 2.5, 0.08), strict=True):
        more = {"limit_text": "+10 %", "measured": 1 + share, "baseline": 1.0, "relative": True, "limit": 1.1}
        found = verdict(Status.INCONCLUSIVE, f"{metric}_p99_9", metric, **more)
        verdicts.append(replace(found, interval=Interval(0.98 + share, 1.02 + share, 24, 24.0, "pair")))
    values = {one.name: [{"new": one.measured, "old": 1.0, "reason": ""}] * 24 for one in verdicts}
    return draw_pair({"new": "a_very_long_label_" * 9, "old": HOSTILE, "values": values}, verdicts)


def _draw_trend() -> str:
    noise = random.Random(1)
    levels = [0.2] * 3 + [0.3] * 3 + [0.2] * 3 + [0.25] * 200
    edges = [(3, 0.2, 0.3), (6, 0.3, 0.2), (9, 0.2, 0.25)]
    points = [
        {
            "created": f"2026-01-{at % 28 + 1:02}T00:00:00",
            "commit": f"{at:08x}",
            "value": level * noise.uniform(0.99, 1.01),
        }
        for at, level in enumerate(levels)
    ]
    changes = [{"index": index, "before": before, "after": after} for index, before, after in edges]
    facts = {"metric": "latency.ttft_p95", "unit": "s", "better": "lower", "missing": 2, "anchor": 0.25}
    return draw_trend({**facts, "points": points, "changes": changes})


def _draw_curves() -> str:
    curves = [Curve(f"{HOSTILE} {at}", [CurvePoint(1, 0.1), CurvePoint(64, 0.5 + at / 99)]) for at in range(4)]
    return draw_curves(curves, Axis("rate", REQUESTS_PER_SECOND), Axis("latency.ttft_p95", SECONDS), 0.52)
