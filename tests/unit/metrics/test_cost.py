"""Costs: metrics/cost.py, and their verdicts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.judge import judge
from pytest_llmperf.budgets.limit import BudgetError, parse_limits, use_currency
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.device_trace import Conditions, DeviceProcess, DeviceTrace, Energy
from pytest_llmperf.measurement.engine_info import Device, EngineInfo
from pytest_llmperf.measurement.memory_trace import MemoryTrace
from pytest_llmperf.measurement.pricing.prices import Prices
from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.metrics.table import read
from tests.helpers.report_samples import GIB, MS, START, measurement, request

if TYPE_CHECKING:
    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.measurement.measurement import Measurement

PRICES = Prices("EUR", (("NVIDIA L4", 0.72), ("NVIDIA H100*", 3.6), ("AMD *", 0.36)))
WITH_ENERGY = replace(PRICES, per_kwh=0.36)
L4 = Device("cuda", "NVIDIA L4", "GPU-1")


def on_cpu(prices: Prices | None = PRICES, **changed: object) -> Measurement:
    """240 tokens in 3.6 s of an engine on the CPU, over a test of 4 s."""
    return replace(measurement(), prices=prices, host_bytes=100 * GIB, **changed)  # type: ignore[arg-type]


def on_gpus(prices: Prices, *devices: Device, joules: float | None = 1000.0, **changed: object) -> Measurement:
    engine = EngineInfo("vllm", "0.31.0", "m", devices)
    energy = Energy(joules=joules, how="counter", reason="" if joules is not None else "too short")
    traces = tuple(DeviceTrace(one, MemoryTrace((), "x"), energy, total_bytes=24 * GIB) for one in devices)
    return on_cpu(prices, engine=engine, devices=traces, **changed)


def cost(name: str, of: Measurement) -> float:
    found = read(f"cost.{name}", of)
    assert found.value is not None, found.reason
    return found.value


def why_none(name: str, of: Measurement) -> str:
    found = read(f"cost.{name}", of)
    assert found.value is None
    return found.reason


def test_the_whole_test_costs_its_length_at_the_price_of_the_device() -> None:
    assert cost("total", on_cpu()) == pytest.approx(0.36 * 4 / 3600)
    assert read("cost.total", on_cpu()).how == "0.360 EUR per hour for AMD EPYC 7B13"


def test_a_million_tokens_cost_what_the_device_costs_while_they_come() -> None:
    rate = read("throughput.output", on_cpu()).value
    assert rate
    assert cost("per_million_output", on_cpu()) == pytest.approx(1e6 * 0.36 / 3600 / rate)


def test_each_device_of_the_engine_counts() -> None:
    second = replace(L4, uuid="GPU-2")
    one, two = on_gpus(PRICES, L4), on_gpus(PRICES, L4, second)
    assert cost("total", two) == pytest.approx(2 * cost("total", one))
    assert read("cost.total", two).how == "1.44 EUR per hour for 2 × NVIDIA L4"


def test_the_device_of_several_engines_of_a_test_counts_once() -> None:
    alone = on_gpus(PRICES, L4)
    both = replace(alone, parts=(replace(alone, label="a"), replace(alone, label="b")))
    assert cost("total", both) == cost("total", alone)


def test_the_first_glob_that_matches_gives_the_price() -> None:
    assert Prices("EUR", (("NVIDIA*", 1.0), ("NVIDIA L4", 2.0))).find("NVIDIA L4") == 1.0
    assert PRICES.find("NVIDIA H100 80GB HBM3") == 3.6
    assert PRICES.find("NVIDIA A10G") is None


def test_devices_that_cost_nothing_leave_nothing_to_count() -> None:
    free = replace(PRICES, per_hour=(("*", 0.0),))
    said = "0.00 EUR per hour for AMD EPYC 7B13 leaves nothing to count: state its price in [prices]"
    assert {why_none(name, on_cpu(free)) for name in ("total", "per_million_output", "idle_month")} == {said}
    assert why_none("total", on_cpu(replace(free, per_kwh=0.36))) == said  # no energy is measured there
    assert "leaves nothing to count" in why_none("total", on_gpus(free, L4))
    assert "leaves nothing to count" in why_none("total", on_gpus(replace(free, per_kwh=0.0), L4))
    assert "leaves nothing to count" in why_none("idle_month", on_gpus(replace(free, per_kwh=0.36), L4))


def test_a_device_may_cost_its_energy_alone() -> None:
    alone = Prices("EUR", (("*", 0.0),), per_kwh=0.36)
    assert cost("total", on_gpus(alone, L4, joules=3.6e5)) == pytest.approx(0.1 * 0.36)


def test_energy_is_paid_by_the_counter() -> None:
    found = on_gpus(WITH_ENERGY, L4, joules=3.6e5)
    assert cost("total", found) == pytest.approx(0.72 * 4 / 3600 + 0.1 * 0.36)
    rate = read("throughput.output", found).value or 0.0
    assert cost("per_million_output", found) == pytest.approx(1e6 * (0.72 / 3600 + 0.036 / 4) / rate)


def test_on_a_cpu_the_price_per_hour_stands_for_its_energy_too() -> None:
    assert cost("total", on_cpu(WITH_ENERGY)) == cost("total", on_cpu())
    assert "whose energy is not measured" in read("cost.total", on_cpu(WITH_ENERGY)).how


def test_prompt_tokens_count_in_part_where_the_project_says_so() -> None:
    weighted = on_cpu(replace(PRICES, prompt_weight=0.25))
    output, total = (read(f"throughput.{name}", weighted).value or 0.0 for name in ("output", "total"))
    assert cost("per_million_output", weighted) == pytest.approx(100 / (output + 0.25 * (total - output)))


def test_a_month_of_idling_costs_the_share_of_memory_that_stays_held() -> None:
    found = on_cpu(idle=Reading(25.0 * GIB, "settled"))
    assert cost("idle_month", found) == pytest.approx(0.36 * 730 * 0.25)
    on_gpu = on_gpus(WITH_ENERGY, L4, idle=Reading(6.0 * GIB, "settled"), joules=None)
    assert cost("idle_month", on_gpu) == pytest.approx(0.72 * 730 * 0.25)


@pytest.mark.parametrize(
    ("name", "of", "reason"),
    [
        ("total", on_cpu(None), "llmperf.toml states no prices: write [prices] with per_hour"),
        ("total", on_cpu(engine=None), "the test used no engine"),
        ("total", on_gpus(PRICES, Device("cuda", "NVIDIA A10G")), "llmperf.toml states no price for NVIDIA A10G: *"),
        ("total", on_cpu(engine=EngineInfo("openai", "", "m")), "the devices that the engine computes on cannot be *"),
        ("total", on_gpus(WITH_ENERGY, L4, joules=None), "the energy is not known: NVIDIA L4 GPU-1: too short"),
        ("per_million_output", on_cpu(requests=()), "the test sent no request through llm_client"),
        ("idle_month", on_cpu(), "memory.idle is not known: *"),
        ("idle_month", on_cpu(idle=Reading(1.0, ""), memory=None), ""),
    ],
)
def test_what_is_missing_is_said(name: str, of: Measurement, reason: str) -> None:
    if not reason:
        assert cost(name, replace(of, host_bytes=10)) > 0
        assert why_none(name, replace(of, host_bytes=None)) == "the size of the host's memory is not known"
        return
    found = why_none(name, of)
    assert found.startswith(reason.removesuffix("*")) if reason.endswith("*") else found == reason


def test_energy_that_others_took_as_well_is_not_paid() -> None:
    found = on_gpus(WITH_ENERGY, L4)
    shared = replace(found.devices[0], conditions=Conditions(newcomers=(DeviceProcess(4711),)))
    assert "others computed on the device" in why_none("total", replace(found, devices=(shared,)))


# ------------------------------------------------------------------------------------------------------------ verdicts


def judged(of: Measurement, latency: str = "", **limits: str) -> list[Verdict]:
    chosen = parse_limits("cost", limits, "cost_budget")
    if latency:
        chosen += parse_limits("latency", {"ttft_max": latency}, "latency_budget")
    return judge(use_currency(chosen, of.prices.currency if of.prices else ""), of)


def test_a_verdict_is_in_the_currency_of_its_limit() -> None:
    (found,) = judged(on_cpu(), per_million_output="3 EUR")
    assert found.status is Status.PASS
    assert found.measured_text.endswith(" EUR")
    assert found.interval is not None
    assert found.interval_text


def test_the_noise_of_the_rate_is_that_of_the_cost() -> None:
    (found,) = judged(on_cpu(), per_million_output="3 EUR")
    (rate,) = judge(parse_limits("throughput", {"output": "1 tok/s"}, "x"), on_cpu())
    assert found.interval is not None
    assert rate.interval is not None
    assert found.measured
    assert found.interval.low
    assert found.interval.high
    assert rate.measured
    assert rate.interval.low
    assert rate.interval.high
    assert found.interval.high / found.measured == pytest.approx(rate.measured / rate.interval.low)
    assert found.interval.low / found.measured == pytest.approx(rate.measured / rate.interval.high)


def test_a_cost_close_to_its_limit_is_inconclusive() -> None:
    value = cost("per_million_output", on_cpu())
    few = on_cpu(requests=tuple(request(at) for at in (0, 300, 900, 1700, 2400)))
    (found,) = judged(few, per_million_output=f"{cost('per_million_output', few):.9f} EUR")
    assert found.status is Status.INCONCLUSIVE
    (broken,) = judged(on_cpu(), per_million_output=f"{value / 100:.9f} EUR")
    assert broken.status is Status.FAIL
    assert broken.sentence().startswith("cost")


@pytest.mark.parametrize(
    ("latency", "limit", "status", "how"),
    [
        ("1 s", "9 EUR", Status.PASS, "at a load that meets latency.ttft_max"),
        ("1 ms", "9 EUR", Status.INVALID, ""),
        ("1 ms", "0.01 EUR", Status.FAIL, "at a load that breaks latency.ttft_max"),
        ("", "9 EUR", Status.PASS, "the test limits no latency that its load would have to meet"),
    ],
)
def test_tokens_at_a_load_that_breaks_a_latency_limit_are_not_cheap(
    latency: str, limit: str, status: Status, how: str
) -> None:
    found = judged(on_cpu(), latency, per_million_output=limit)[0]
    assert found.status is status
    if how:
        assert found.how.endswith(how)
    else:
        assert "measured at a load that breaks the limit on latency.ttft_max" in found.reason


def test_where_the_latency_is_not_known_the_verdict_says_so() -> None:
    limits = use_currency(parse_limits("cost", {"per_million_output": "9 EUR"}, "x"), "EUR")
    limits += parse_limits("latency", {"ttft_p99": "1 s"}, "x")
    found = judge(limits, on_cpu())[0]
    assert found.status is Status.PASS
    assert found.how.endswith("not known to meet latency.ttft_p99 (NOT MEASURED)")


def test_without_a_price_a_limit_is_not_measured() -> None:
    (found,) = judged(on_cpu(None), total="1 EUR")
    assert (found.status, found.reason) == (
        Status.NOT_MEASURED,
        "llmperf.toml states no prices: write [prices] with per_hour",
    )


def test_a_sensor_is_as_inexact_as_its_share_of_the_cost() -> None:
    (found,) = judged(on_gpus(WITH_ENERGY, L4, joules=3.6e5), total="1 EUR")
    assert found.interval is not None
    assert found.measured
    assert found.interval.high == pytest.approx(found.measured + 0.05 * 0.036)
    (exact,) = judged(on_cpu(), total="1 EUR")
    assert exact.interval_text == ""


@pytest.mark.parametrize("value", ["0.40", "0.40 %", "-1 EUR", "EUR 0.40", "nan EUR", "0.40 EUR/h", 0.4])
def test_a_limit_is_an_amount_with_its_currency(value: object) -> None:
    with pytest.raises(BudgetError, match=r"total="):
        parse_limits("cost", {"total": value}, "cost_budget")


@pytest.mark.parametrize("value", ["0.40 EUR", "12 $", "3 €", "1e-3 USD", "5 kr", "1 US$"])
def test_any_currency_is_taken_as_it_is_written(value: str) -> None:
    (limit,) = parse_limits("cost", {"total": value}, "cost_budget")
    assert limit.quantity.base == value.split()[1]


def test_another_currency_than_that_of_the_prices_is_refused_in_one_line() -> None:
    limits = parse_limits("cost", {"total": "1 USD"}, "cost_budget")
    with pytest.raises(BudgetError) as found:
        use_currency(limits, "EUR")
    assert str(found.value) == (
        "cost_budget: total='1 USD' is in USD, but the prices in llmperf.toml are in EUR: write it in EUR"
    )


def test_a_relative_limit_is_shown_in_the_currency_of_the_prices() -> None:
    (limit,) = use_currency(parse_limits("cost", {"total": "+5 %"}, "x"), "EUR")
    assert limit.relative
    assert limit.quantity.base == "EUR"


def test_a_part_of_a_test_has_its_own_cost() -> None:
    half = on_cpu().cut(Window(START, START + 2000 * MS))
    assert cost("total", half) == pytest.approx(0.36 * 2 / 3600)
