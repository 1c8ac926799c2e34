"""Costs: from the prices that the project states, the devices that an engine computes on, and the energy they took.

A device counts as a whole for as long as the engine has it: a share of its time cannot be sold to others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.reading import Missing, Reading
from pytest_llmperf.measurement.units import PRICE, format_value, money
from pytest_llmperf.metrics import energy, memory, throughput
from pytest_llmperf.metrics.evidence import RateUnits, SensorAccuracy
from pytest_llmperf.metrics.metric import Metric, ScalarMetric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.engine_info import Device
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.pricing.prices import Prices
    from pytest_llmperf.measurement.units import Quantity

HOURS_PER_MONTH = 730.0
_SECONDS_PER_HOUR = 3600.0
_JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, kw_only=True, eq=False)
class CostMetric(ScalarMetric):
    """An amount of money, in the currency of the prices that hold for a measurement."""

    def quantity_in(self, measurement: Measurement) -> Quantity:
        return money(measurement.prices.currency) if measurement.prices is not None else self.quantity


@dataclass(frozen=True)
class _Rate:
    """What the devices of a measurement cost: an amount for each hour, and the energy over the whole window."""

    prices: Prices
    per_hour: float
    energy: float
    how: str

    def over(self, seconds: float) -> float:
        """The cost of the devices alone over a time."""
        return self.per_hour * seconds / _SECONDS_PER_HOUR


def find_quantity_in(metric: Metric, unit: str | None) -> Quantity:
    """What a stored value of a metric is a value of, by the unit that its report states: for costs the currency."""
    return money(unit) if metric.quantity is PRICE and unit and unit != PRICE.base else metric.quantity


def read_total(measurement: Measurement, metric: Metric) -> Reading:
    """The cost of the engine's devices over the test, and of the energy that they took."""
    rate = _find_rate(measurement)
    if isinstance(rate, Missing):
        return Reading.missing(rate.reason)
    return Reading(rate.over(measurement.window.seconds) + rate.energy, rate.how, samples=1)


def read_per_million_output(measurement: Measurement, metric: Metric) -> Reading:
    """The cost of a million output tokens at the rate at which they came."""
    rate = _find_rate(measurement)
    if isinstance(rate, Missing):
        return Reading.missing(rate.reason)
    output = throughput.read_output(measurement, metric)
    if output.value is None:
        return Reading.missing(output.reason)
    tokens, weight, how = output.value, rate.prices.prompt_weight, rate.how
    if weight:
        total = throughput.read_total(measurement, metric)
        if total.value is None:
            return Reading.missing(total.reason)
        tokens += weight * (total.value - output.value)
        how = f"{how}; a prompt token counts as {weight:g} output tokens"
    if tokens <= 0:
        return Reading.missing("no output token came within the time that is judged")
    cost = rate.over(1.0) + rate.energy / measurement.window.seconds
    return Reading(1e6 * cost / tokens, how, samples=output.samples)


def read_idle_month(measurement: Measurement, metric: Metric) -> Reading:
    """The cost of a month of what the loaded and unasked models hold of their devices."""
    rate = _find_rate(measurement, with_energy=False)
    if isinstance(rate, Missing):
        return Reading.missing(rate.reason)
    idle = memory.read_idle(measurement, metric)
    if idle.value is None:
        return Reading.missing(f"memory.idle is not known: {idle.reason}")
    whole = _find_capacity(measurement)
    if isinstance(whole, Missing):
        return Reading.missing(whole.reason)
    share = min(1.0, idle.value / whole)
    how = f"{rate.how}; {100 * share:.3g} % of the memory of a device, {HOURS_PER_MONTH:g} h"
    return Reading(rate.per_hour * HOURS_PER_MONTH * share, how, samples=idle.samples)


def divide_tokens(measurement: Measurement) -> RateUnits | None:
    """The tokens that are paid for, of each unit: a cost is as noisy as the rate that it is divided by."""
    output = throughput.divide_output(measurement)
    weight = measurement.prices.prompt_weight if measurement.prices is not None else 0.0
    total = throughput.divide_total(measurement) if weight else None
    if output is None or total is None:
        return output
    counts = [own + weight * (both - own) for own, both in zip(output.counts, total.counts, strict=True)]
    return replace(output, counts=counts)


def find_energy_accuracy(measurement: Measurement) -> SensorAccuracy:
    """How exact the cost of a test is: only its energy comes from a sensor."""
    rate = _find_rate(measurement)
    if isinstance(rate, Missing) or not rate.energy:
        return SensorAccuracy(0.0)
    share = rate.energy / (rate.energy + rate.over(measurement.window.seconds))
    return SensorAccuracy(energy.SENSOR_ACCURACY.share * share)


def _find_rate(measurement: Measurement, *, with_energy: bool = True) -> _Rate | Missing:
    prices = measurement.prices
    if prices is None:
        return Missing("llmperf.toml states no prices: write [prices] with per_hour")
    if measurement.engine is None:
        return Missing("the test used no engine")
    devices = _list_devices(measurement)
    if not devices:
        return Missing("the devices that the engine computes on cannot be seen from here")
    found = [(device, prices.find(device.name)) for device in devices]
    for device, price in found:
        if price is None:
            return Missing(f"llmperf.toml states no price for {device.name}: add it to per_hour in [prices]")
    per_hour = sum(price or 0.0 for _, price in found)
    shown = format_value(per_hour, money(prices.currency))
    how = f"{shown} per hour for {_count(devices)}"
    on_cpu = all(device.kind == "cpu" for device in devices)
    if not per_hour and (on_cpu or not with_energy or not prices.per_kwh):
        return Missing(f"{shown} per hour for {_count(devices)} leaves nothing to count: state its price in [prices]")
    if prices.per_kwh is None or not with_energy:
        return _Rate(prices, per_hour, 0.0, how)
    if on_cpu:
        return _Rate(prices, per_hour, 0.0, f"{how}, whose energy is not measured")
    consumed = energy.sum_joules(measurement)
    doubt = next((t.device.name_in(why) for t in measurement.devices if (why := energy.why_energy_doubtful(t))), "")
    if consumed.value is None or doubt:
        return Missing(f"the energy is not known: {doubt or consumed.reason}")
    cost = consumed.value / _JOULES_PER_KWH * prices.per_kwh
    return _Rate(prices, per_hour, cost, f"{how}, and {format_value(cost, money(prices.currency))} of energy")


def _list_devices(measurement: Measurement) -> Sequence[Device]:
    """The devices of all engines of a measurement, each once; several equal GPUs differ by their UUID."""
    engines = [part.engine for part in measurement.parts or (measurement,) if part.engine is not None]
    found: list[Device] = []
    for engine in engines:
        found += [device for device in engine.devices if device not in found or engine.devices.count(device) > 1]
    return found


def _count(devices: Sequence[Device]) -> str:
    names = list(dict.fromkeys(device.name for device in devices))
    counts = [sum(1 for device in devices if device.name == name) for name in names]
    return " + ".join(f"{n} × {name}" if n > 1 else name for n, name in zip(counts, names, strict=True))


def _find_capacity(measurement: Measurement) -> float | Missing:
    """The memory of one device of the engine, of the host if it computes there; devices of one engine are alike."""
    if measurement.engine is not None and measurement.engine.on_cpu:
        return measurement.host_bytes or Missing("the size of the host's memory is not known")
    sizes = [trace.total_bytes for trace in measurement.devices if trace.total_bytes]
    return min(sizes) if sizes else Missing("the size of the memory of the engine's GPU is not known")
