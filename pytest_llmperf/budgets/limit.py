"""Limits: parsed from what users write, merged over the layers of a test, selected for an engine."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pytest_llmperf.measurement import units
from pytest_llmperf.metrics.metric import DistributionMetric
from pytest_llmperf.metrics.statistics import split_key
from pytest_llmperf.metrics.table import METRICS, SCOPES, list_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.engine_info import EngineInfo
    from pytest_llmperf.metrics.metric import Metric
    from pytest_llmperf.metrics.statistics import Statistic


class BudgetError(ValueError):
    """A budget that cannot be understood; the message is one line that names the argument and what would be right."""


@dataclass(frozen=True)
class Limit:
    """One limit on one metric; it is inclusive.

    Attributes:
        metric: the metric's name, such as ``"latency.ttft"``.
        statistic: what of a distribution is limited; None for other metrics.
        value: in the base unit of the metric.
        text: the value as the user wrote it.
        source: where it was written, for messages.
        device, engine: globs that say where it applies; None for everywhere.
    """

    metric: str
    statistic: Statistic | None
    value: float
    text: str
    source: str
    device: str | None = None
    engine: str | None = None

    @property
    def definition(self) -> Metric:
        """The row of the table that it limits."""
        return METRICS[self.metric]

    @property
    def name(self) -> str:
        """``latency.ttft_p95``: the metric as it was limited."""
        return self.metric + (f"_{self.statistic.suffix}" if self.statistic else "")

    @property
    def scope(self) -> str:
        """``engine='vllm' device='NVIDIA*'``: where it applies, as it was written; empty for everywhere."""
        parts = [f"engine={self.engine!r}" if self.engine else "", f"device={self.device!r}" if self.device else ""]
        return " ".join(part for part in parts if part)

    def applies_to(self, engine: EngineInfo | None) -> bool:
        """Whether its globs match this engine and one of its devices; without an engine every limit applies."""
        if engine is None:
            return True
        devices = [device.name for device in engine.devices] or [engine.device_name]
        return (self.engine is None or engine.is_called(self.engine)) and (
            self.device is None or any(matches(name, self.device) for name in devices)
        )


def matches(name: str, glob: str) -> bool:
    """Whether a glob matches a name. A name matches itself, even one with ``[...]``, as parametrized tests have."""
    return name == glob or fnmatchcase(name, glob)


def parse_limits(group: str, arguments: Mapping[str, object], source: str) -> list[Limit]:
    """The limits of one ``<group>_budget`` marker or table.

    Raises:
        BudgetError: an unknown key, a value without its unit, a percentile out of range, GB and GiB mixed.
    """
    scope = {name: _glob(name, arguments.get(name), source) for name in SCOPES}
    limits = [_parse_limit(group, key, value, source, scope) for key, value in arguments.items() if key not in scope]
    if not limits:
        raise BudgetError(f"{source}: limits nothing; give at least one of {', '.join(list_keys(group))}")
    _refuse_mixed_sizes(limits, source)
    return limits


def _glob(name: str, value: object, source: str) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise BudgetError(f"{source}: {name}={value!r} is not a name or glob")


def _parse_limit(group: str, key: str, value: object, source: str, scope: Mapping[str, str | None]) -> Limit:
    try:
        base, statistic = split_key(key)
    except ValueError as error:
        raise BudgetError(f"{source}: {error}") from None
    metric = METRICS.get(f"{group}.{base}")
    if metric is None:
        raise BudgetError(f"{source}: unknown key {key!r}; it takes {', '.join(list_keys(group))}, {', '.join(SCOPES)}")
    is_distribution = isinstance(metric, DistributionMetric)
    if is_distribution and statistic is None:
        raise BudgetError(f"{source}: {key!r} needs a percentile, such as {key}_p95 (or {key}_max)")
    if statistic is not None and not is_distribution:
        raise BudgetError(f"{source}: {base!r} has no percentiles; write {base}=")
    try:
        number = units.parse(value, metric.quantity)
    except units.UnitError as error:
        raise BudgetError(f"{source}: {key}={error}") from None
    return Limit(metric.name, statistic, number, " ".join(str(value).split()), source, scope["device"], scope["engine"])


def _refuse_mixed_sizes(limits: Sequence[Limit], source: str) -> None:
    sizes = [limit for limit in limits if limit.definition.quantity is units.BYTES]
    decimal = [x for x in sizes if units.is_decimal_bytes(x.text) is True]
    binary = [x for x in sizes if units.is_decimal_bytes(x.text) is False]
    if decimal and binary:
        raise BudgetError(
            f"{source}: mixes {decimal[0].definition.key}={decimal[0].text!r} (powers of 1000) with "
            f"{binary[0].definition.key}={binary[0].text!r} (powers of 1024); write both in one"
        )


def merge(layers: Sequence[Sequence[Limit]]) -> list[Limit]:
    """The limits of a test from all its layers, closest first.

    A closer layer replaces a farther one key by key, for the same metric and the same globs.

    Raises:
        BudgetError: one layer states the same limit twice.
    """
    merged: dict[tuple[str, str | None, str | None], Limit] = {}
    for layer in layers:
        seen: dict[tuple[str, str | None, str | None], Limit] = {}
        for limit in layer:
            slot = (limit.name, limit.device, limit.engine)
            if slot in seen:
                raise BudgetError(
                    f"{limit.source}: {limit.name} is limited twice; {seen[slot].source} limits it already"
                )
            seen[slot] = limit
        for slot, limit in seen.items():
            merged.setdefault(slot, limit)
    return list(merged.values())


def select(limits: Sequence[Limit], engine: EngineInfo | None) -> list[Limit]:
    """The limits that apply to this engine and device; of several on one metric the first, which is the closest."""
    chosen: dict[str, Limit] = {}
    for limit in limits:
        if limit.applies_to(engine):
            chosen.setdefault(limit.name, limit)
    return list(chosen.values())
