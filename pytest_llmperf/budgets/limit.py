"""Limits: parsed from what users write, merged over the layers of a test, selected for an engine."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from pytest_llmperf.measurement import units
from pytest_llmperf.metrics.metric import DistributionMetric, SampleSource
from pytest_llmperf.metrics.statistics import split_key
from pytest_llmperf.metrics.table import COMPARISON, METRICS, SCOPES, find_metric, list_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.engine_info import EngineInfo
    from pytest_llmperf.measurement.units import Quantity
    from pytest_llmperf.metrics.metric import Metric
    from pytest_llmperf.metrics.statistics import Statistic


_SIGNED = re.compile(r"[+-]\s*(?:[0-9]+\.?[0-9]*|\.[0-9]+)\s*%")
_LEAST_SHARE, _MOST_SHARE = -1.0, 10.0
_MOST = {units.SCORE.base: "1", units.SHARE.base: "'100 %'"}
# Shares of a whole, of which no build can keep a lower limit above 100 %.
_OF_ALL = ("quality.agreement", "throughput.prefix_hit_rate", "throughput.acceptance_rate")
QUALITY = "quality"


class BudgetError(ValueError):
    """A budget that cannot be understood; the message is one line that names the argument and what would be right."""


@dataclass(frozen=True)
class Limit:
    """One limit on one metric; it is inclusive.

    Attributes:
        metric: the metric's name, such as ``"latency.ttft"``.
        statistic: what of a distribution is limited; None for other metrics.
        value: in the base unit of the metric; of a relative limit the share by which the value may exceed its baseline,
            or has to stay below it: 0.1 for ``"+10 %"``, -0.05 for ``"-5 %"``.
        text: the value as the user wrote it.
        source: where it was written, for messages.
        device, engine: globs that say where it applies; None for everywhere.
        relative: whether it limits the change against a baseline. Both kinds may limit one metric.
        direction: of a score which the test records itself, which direction is better; None for other metrics.
        against: what next tokens are compared with: the label of an engine of the run, or the path of a reference
            file; None for the newest baseline in the store.
        text_file: the path of the text at whose positions they are compared; None for that of this package.
        currency: of an amount of money, as it was written or as the prices state it; else empty.
    """

    metric: str
    statistic: Statistic | None
    value: float
    text: str
    source: str
    device: str | None = None
    engine: str | None = None
    relative: bool = False
    direction: Literal["lower", "higher"] | None = None
    against: str | None = None
    text_file: str | None = None
    currency: str = ""

    @property
    def quantity(self) -> Quantity:
        """What it limits a value of; an amount of money in its own currency."""
        return units.money(self.currency) if self.currency else self.definition.quantity

    @property
    def definition(self) -> Metric:
        """The row of the table that it limits, or that of a score of the test's own."""
        found = find_metric(self.metric, self.direction or "higher")
        if found is None:
            raise KeyError(self.metric)
        return found

    @property
    def name(self) -> str:
        """``latency.ttft_p95``: the metric as it was limited."""
        return self.metric + (f"_{self.statistic.suffix}" if self.statistic else "")

    @property
    def slot(self) -> tuple[str, str | None, str | None, bool]:
        """What a test may limit once: a metric, for a device and an engine, absolutely or against a baseline."""
        return self.name, self.device, self.engine, self.relative

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
    compared = {name: _glob(name, arguments.get(name), source) for name in COMPARISON if group == QUALITY}
    limits = [
        _parse_limit(group, key, each, source, scope)
        for key, value in arguments.items()
        if key not in scope and key not in compared
        for each in _split_pair(key, value, source)
    ]
    if any(compared.values()):
        limits = _compare_with(limits, compared, source)
    if not limits:
        raise BudgetError(f"{source}: limits nothing; give at least one of {', '.join(list_keys(group))}")
    _refuse_mixed_sizes(limits, source)
    return limits


def _compare_with(limits: Sequence[Limit], compared: Mapping[str, str | None], source: str) -> list[Limit]:
    if not any(is_comparison(limit) for limit in limits):
        given = ", ".join(f"{name}={value!r}" for name, value in compared.items() if value)
        raise BudgetError(f"{source}: {given} has no effect without a limit on agreement or kl")
    against, text = compared["against"], compared["text"]
    return [replace(one, against=against, text_file=text) if is_comparison(one) else one for one in limits]


def is_comparison(limit: Limit) -> bool:
    """Whether a limit is on next tokens beside those of a reference."""
    return limit.definition.source is SampleSource.NEXT_TOKENS


def _glob(name: str, value: object, source: str) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise BudgetError(f"{source}: {name}={value!r} is not a name or glob")


def _split_pair(key: str, value: object, source: str) -> Sequence[object]:
    """The limits that one key was given: a single one, or an absolute and a relative one."""
    if not isinstance(value, tuple | list):
        return (value,)
    if len(value) == 2 and [_is_relative(each) for each in value].count(True) == 1:
        return value
    example = "('300 ms', '+10 %')"
    raise BudgetError(f"{source}: {key}={value!r} is not one limit with one against the baseline, such as {example}")


def _is_relative(value: object) -> bool:
    """Whether a limit is one against the baseline: it begins with a sign and is a share."""
    text = value.strip() if isinstance(value, str) else ""
    return text.removeprefix("<=").removeprefix(">=").strip().startswith(("+", "-")) and text.endswith("%")


def _parse_limit(group: str, key: str, value: object, source: str, scope: Mapping[str, str | None]) -> Limit:
    try:
        base, statistic = (key, None) if group == QUALITY else split_key(key)
    except ValueError as error:
        raise BudgetError(f"{source}: {error}") from None
    direction: Literal["lower", "higher"] | None = None
    if group == QUALITY and f"{group}.{base}" not in METRICS:
        _refuse_misspelled(base, source)
        direction, value = _split_sign(value)
    metric = find_metric(f"{group}.{base}", direction or "higher")
    if metric is None:
        raise BudgetError(f"{source}: unknown key {key!r}; it takes {', '.join([*list_keys(group), *SCOPES])}")
    is_distribution = isinstance(metric, DistributionMetric)
    if is_distribution and statistic is None:
        raise BudgetError(f"{source}: {key!r} needs a percentile, such as {key}_p95 (or {key}_max)")
    if statistic is not None and not is_distribution:
        raise BudgetError(f"{source}: {base!r} has no percentiles; write {base}=")
    relative = _is_relative(value)
    try:
        number = _parse_share(str(value), metric) if relative else _parse_absolute(value, metric)
    except units.UnitError as error:
        raise BudgetError(f"{source}: {key}={error}") from None
    text = " ".join(str(value).split())
    currency = units.parse_money(text)[1] if metric.quantity is units.PRICE and not relative else ""
    where = scope["device"], scope["engine"]
    return Limit(metric.name, statistic, number, text, source, *where, relative, direction, currency=currency)


def _refuse_misspelled(key: str, source: str) -> None:
    """Any name may be that of a score; one that is nearly that of a metric is not meant as one."""
    known = [*list_keys(QUALITY), *COMPARISON, *SCOPES]
    if close := get_close_matches(key, known, n=1, cutoff=0.75):
        raise BudgetError(f"{source}: unknown key {key!r}; did you mean {close[0]}?")


def _split_sign(value: object) -> tuple[Literal["lower", "higher"] | None, object]:
    """The direction of a limit on a score, and what is left: ``"<= 0.2"`` is an upper limit, ``"0.8"`` a lower one."""
    text = value.strip() if isinstance(value, str) else ""
    if text.startswith("<="):
        return "lower", text.removeprefix("<=").strip()
    return "higher", text.removeprefix(">=").strip() if text.startswith(">=") else value


def _parse_absolute(value: object, metric: Metric) -> float:
    if isinstance(value, str) and value.strip().startswith("+"):
        raise units.UnitError(
            f"{value!r} begins with a sign, so that it is against the baseline and a share: write '+10 %', or without "
            f"the sign, such as {metric.quantity.example!r}"
        )
    if metric.quantity is units.PRICE:
        return units.parse_money(value)[0]
    number = units.parse(value, metric.quantity)
    if number > 1 and (metric.quantity is units.SCORE or metric.name in _OF_ALL):
        raise units.UnitError(f"{value!r} is more than all: it is a share of at most {_MOST[metric.quantity.base]}")
    return number


def _parse_share(text: str, metric: Metric) -> float:
    """``"+10 %"`` → 0.1.

    Raises:
        UnitError: not a number, or a share that nothing can keep or break.
    """
    if _SIGNED.fullmatch(text.strip()) is None:
        raise units.UnitError(f"{text!r} is not a share of the baseline: write a string such as '+10 %'")
    sign, digits = text.strip()[0], text.strip()[1:]
    share = units.parse(digits, units.SHARE) * (-1 if sign == "-" else 1)
    if not _LEAST_SHARE < share <= _MOST_SHARE:
        can = "no value can be lower" if share <= _LEAST_SHARE else "eleven times the baseline"
        much = "less" if metric.better == "higher" else "more"
        raise units.UnitError(
            f"{text!r} limits nothing ({can}): write how much {much} is allowed, such as "
            f"{'-5 %' if metric.better == 'higher' else '+10 %'!r}"
        )
    return share


def _refuse_mixed_sizes(limits: Sequence[Limit], source: str) -> None:
    sizes = [limit for limit in limits if limit.definition.quantity is units.BYTES]
    decimal = [x for x in sizes if units.is_decimal_bytes(x.text) is True]
    binary = [x for x in sizes if units.is_decimal_bytes(x.text) is False]
    if decimal and binary:
        raise BudgetError(
            f"{source}: mixes {decimal[0].definition.key}={decimal[0].text!r} (powers of 1000) with "
            f"{binary[0].definition.key}={binary[0].text!r} (powers of 1024); write both in one"
        )


def use_currency(limits: Sequence[Limit], currency: str, whose: str = "the prices in llmperf.toml") -> list[Limit]:
    """The limits with a currency on those that limit money; empty if none is known. ``whose`` it is, messages say.

    Raises:
        BudgetError: a limit is in another currency.
    """
    wrong = next((one for one in limits if currency and one.currency not in ("", currency)), None)
    if wrong is not None:
        raise BudgetError(
            f"{wrong.source}: {wrong.definition.key}={wrong.text!r} is in {wrong.currency}, but {whose} are in "
            f"{currency}: write it in {currency}"
        )
    return [
        replace(one, currency=one.currency or currency) if one.definition.quantity is units.PRICE else one
        for one in limits
    ]


def merge(layers: Sequence[Sequence[Limit]]) -> list[Limit]:
    """The limits of a test from all its layers, closest first.

    A closer layer replaces a farther one key by key, for the same metric and the same globs; a limit against the
    baseline only replaces another such limit.

    Raises:
        BudgetError: one layer states the same limit twice.
    """
    merged: dict[tuple[str, str | None, str | None, bool], Limit] = {}
    for layer in layers:
        seen: dict[tuple[str, str | None, str | None, bool], Limit] = {}
        for limit in layer:
            if limit.slot in seen:
                raise BudgetError(
                    f"{limit.source}: {limit.name} is limited twice; {seen[limit.slot].source} limits it already"
                )
            seen[limit.slot] = limit
        for slot, limit in seen.items():
            merged.setdefault(slot, limit)
    return list(merged.values())


def select(limits: Sequence[Limit], engine: EngineInfo | None) -> list[Limit]:
    """The limits that apply to this engine and device.

    Of several on one metric, absolute or against a baseline, the first, which is the closest.
    """
    chosen: dict[tuple[str, bool], Limit] = {}
    for limit in limits:
        if limit.applies_to(engine):
            chosen.setdefault((limit.name, limit.relative), limit)
    return list(chosen.values())
