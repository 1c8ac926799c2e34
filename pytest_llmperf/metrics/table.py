"""The table of all metrics: those of this package and those that users register."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from pytest_llmperf.metrics.metric import DistributionMetric, SampleSource
from pytest_llmperf.metrics.pages import make_page_metric
from pytest_llmperf.metrics.quality import make_score_metric
from pytest_llmperf.metrics.rows import ROWS
from pytest_llmperf.metrics.statistics import split_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.pages.definition import PageMetric
    from pytest_llmperf.measurement.reading import Reading
    from pytest_llmperf.metrics.metric import Metric
    from pytest_llmperf.metrics.statistics import Statistic

GROUPS = ("memory", "throughput", "latency", "energy", "cost", "quality")
"""Each has a marker, ``GROUP_budget``, and a table in ``llmperf.toml``; a metric's name begins with one of them."""
SCOPES = ("device", "engine")
"""The arguments of every marker beside its metrics: globs that say where its limits apply."""

_SCORES = "quality"
"""The group in which a name that is no metric is that of a score which the test records itself."""
COMPARISON = ("against", "text")
"""The arguments of a ``quality_budget`` that say what the engine is compared with, and at positions of which text."""
_NAME = re.compile(rf"(?:{'|'.join(GROUPS)})\.(?P<key>[a-z][a-z0-9_]*)")
_KEY = re.compile(r"[a-z][a-z0-9_]*")
_registered: dict[str, Metric] = {}
METRICS: Mapping[str, Metric] = MappingProxyType(_registered)
"""Every metric by its name, in the order in which help texts and reports list them."""


def register_metric(metric: Metric) -> None:
    """Adds a metric: from then on it may be limited and is in every report.

    Call it before tests are collected, such as in a ``conftest.py`` or in a plugin.

    Raises:
        ValueError: the name is taken, or is not one that a marker could take, or ``better`` is neither direction.
    """
    _check_name(metric.name)
    if metric.better not in ("lower", "higher"):
        raise ValueError(f"{metric.name}: better={metric.better!r} is neither 'lower' nor 'higher'")
    _registered[metric.name] = metric


def set_page_metrics(definitions: Iterable[PageMetric]) -> None:
    """Makes these the metrics that are read from pages, in place of all earlier ones.

    One that is known from a report already, as the same, stays as it is.

    Raises:
        ValueError: a name is taken, or is not one that a marker could take.
    """
    for name in [name for name, metric in _registered.items() if metric.source is SampleSource.PAGES]:
        del _registered[name]
    for metric in map(make_page_metric, definitions):
        known = _registered.get(metric.name)
        if known is None or (known.formula, known.quantity.base) != (metric.formula, metric.quantity.base):
            register_metric(metric)


def _check_name(name: str) -> None:
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(
            f"{name!r} cannot be the name of a metric: write GROUP.KEY, GROUP one of {', '.join(GROUPS)}, "
            "KEY in lower case, such as memory.mean"
        )
    if split_key(match["key"])[1] is not None or match["key"] in (*SCOPES, *COMPARISON):
        raise ValueError(f"{name!r} cannot be the name of a metric: {match['key']!r} means something else")
    if name in METRICS:
        raise ValueError(f"there is a metric {name!r} already")


def list_keys(group: str) -> list[str]:
    """What may be limited in a group, as it is written in a marker; a distribution once, as ``ttft_pNN``."""
    return [metric.limit_key for metric in METRICS.values() if metric.group == group]


def find_metric(name: str, better: Literal["lower", "higher"] = "higher") -> Metric | None:
    """The metric of this name, without a statistic; None if there is none.

    A name of the group ``quality`` that is in no table is that of a score, of which ``better`` says the direction.
    """
    group, _, key = name.partition(".")
    if name in METRICS or group != _SCORES or not _KEY.fullmatch(key) or key in (*SCOPES, *COMPARISON):
        return METRICS.get(name)
    return make_score_metric(key, better)


def list_metrics(measurement: Measurement) -> list[Metric]:
    """The metrics that a report has of a measurement.

    With those of the scores that the test recorded, and those of next tokens only where a budget of it is on them.
    """
    is_compared = measurement.quality is not None
    known = [one for one in METRICS.values() if is_compared or one.source is not SampleSource.NEXT_TOKENS]
    scores = {score.name: score.better for score in measurement.scores}
    return [*known, *(make_score_metric(name, better) for name, better in scores.items())]


def find(name: str) -> tuple[Metric, Statistic | None]:
    """The metric and the statistic that a name means as it is limited: ``"memory.peak"``, ``"latency.ttft_p95"``.

    Raises:
        ValueError: there is no such metric, or it lacks its statistic, or has one that it cannot have.
    """
    group, _, key = name.partition(".")
    base, statistic = (key, None) if group == _SCORES else split_key(key)
    metric = find_metric(f"{group}.{base}")
    if metric is None or isinstance(metric, DistributionMetric) != (statistic is not None):
        raise ValueError(f"there is no metric {name!r}; it is written as in memory.peak or latency.ttft_p95")
    return metric, statistic


def read(name: str, measurement: Measurement) -> Reading:
    """A metric of a measurement by its name as it is limited: its value, or the reason why there is none.

    Raises:
        ValueError: there is no such metric.
    """
    metric, statistic = find(name)
    return metric.read(measurement, statistic)


def why_unread(engine_readings: Iterable[str]) -> tuple[str, ...]:
    """One sentence for each name under which an engine states a reading that no metric is read from."""
    stated = {metric.name for metric in METRICS.values() if metric.source is SampleSource.ENGINE}
    unread = [name for name in engine_readings if name not in stated]
    return tuple(f"the engine states {name}, which is not a metric that an engine states" for name in unread)


for _row in ROWS:
    _check_name(_row.name)
    _registered[_row.name] = _row
