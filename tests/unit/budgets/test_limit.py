"""From the arguments of a marker to limits, and from all limits of a test to those that hold."""

from __future__ import annotations

import pytest

from pytest_llmperf.budgets.limit import BudgetError, Limit, matches, merge, parse_limits, select
from pytest_llmperf.measurement.engine_info import EngineInfo
from pytest_llmperf.metrics.metric import DistributionMetric
from pytest_llmperf.metrics.statistics import Statistic
from pytest_llmperf.metrics.table import METRICS
from tests.helpers.streams import CPU, L4, limits

GIB = 2.0**30


def refusal(group: str, **arguments: object) -> str:
    with pytest.raises(BudgetError) as caught:
        parse_limits(group, arguments, "test_it: @marker")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("test_it: @marker: ")
    return message.removeprefix("test_it: @marker: ")


def texts(found: list[Limit]) -> list[tuple[str, str]]:
    return [(limit.name, limit.text) for limit in found]


# ---------------------------------------------------------------------------------------------------------- one marker


def test_a_limit_keeps_its_value_its_own_words_and_where_it_was_written() -> None:
    assert parse_limits("memory", {"peak": " 16 \n GiB "}, "here") == [
        Limit("memory.peak", None, 16 * GIB, "16 GiB", "here")
    ]


def test_a_marker_may_limit_several_metrics_at_their_percentiles() -> None:
    found = limits("latency", ttft_p95="300 ms", ttft_p50="100 ms", itl_p99_9="80 ms", e2e_max="9 s", startup="2 min")
    assert [limit.name for limit in found] == [
        "latency.ttft_p95", "latency.ttft_p50", "latency.itl_p99_9", "latency.e2e_max", "latency.startup",
    ]  # fmt: skip
    assert [limit.value for limit in found] == [0.3, 0.1, 0.08, 9.0, 120.0]
    assert [limit.statistic for limit in found] == [
        Statistic(95.0), Statistic(50.0), Statistic(99.9), Statistic(None), None,
    ]  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_may_be_limited_in_the_words_of_its_own_example(name: str) -> None:
    metric = METRICS[name]
    key = metric.key + ("_p95" if isinstance(metric, DistributionMetric) else "")
    [limit] = limits(metric.group, **{key: metric.quantity.example})
    assert limit.definition is metric
    assert limit.value > 0


def test_shares_are_limited_in_percent() -> None:
    waste, offload = limits("memory", kv_waste="10 %", offload="100 %")
    assert (waste.value, offload.value) == (0.1, 1.0)


@pytest.mark.parametrize(
    ("group", "arguments", "message"),
    [
        (
            "memory",
            {"peek": "16 GiB"},
            "unknown key 'peek'; it takes peak, growth, retained, idle, unloaded, host_peak, weights, "
            "kv_cache, kv_reserved, required, kv_waste, offload, device, engine",
        ),
        (
            "throughput",
            {"ttft_p95": "1 s"},
            "unknown key 'ttft_p95'; it takes output, total, requests, goodput, sustained, per_user, inputs, "
            "input_tokens, prefix_hit_rate, acceptance_rate, acceptance_length, device, engine",
        ),
        ("latency", {"ttft": "300 ms"}, "'ttft' needs a percentile, such as ttft_p95 (or ttft_max)"),
        (
            "latency",
            {"ttft_p0": "1 s"},
            "'ttft_p0' asks for percentile 0: it must lie between 0 and 100, both excluded "
            "(ttft_max limits the largest value)",
        ),
        (
            "latency",
            {"ttft_p100": "1 s"},
            "'ttft_p100' asks for percentile 100: it must lie between 0 and 100, both "
            "excluded (ttft_max limits the largest value)",
        ),
        (
            "latency",
            {"itl_p101": "1 s"},
            "'itl_p101' asks for percentile 101: it must lie between 0 and 100, both "
            "excluded (itl_max limits the largest value)",
        ),
        ("latency", {"startup_p95": "9 s"}, "'startup' has no percentiles; write startup="),
        ("memory", {"peak_max": "1 GiB"}, "'peak' has no percentiles; write peak="),
        ("memory", {"peak": 16}, "peak=16 has no unit: write a string such as '16 GiB'"),
        ("memory", {"peak": "16"}, "peak='16' has no unit: write a string such as '16 GiB'"),
        ("memory", {"peak": None}, "peak=None has no unit: write a string such as '16 GiB'"),
        (
            "memory",
            {"peak": "16 G"},
            "peak='16 G' has the unknown unit 'G': write GiB (2**30 bytes) or GB (10**9 bytes)",
        ),
        ("memory", {"peak": "nan GiB"}, "peak='nan GiB' is not a finite memory size: write a string such as '16 GiB'"),
        ("memory", {"peak": "-1 GiB"}, "peak='-1 GiB' is negative: a memory size is at least 0"),
        ("memory", {"kv_waste": "0.1"}, "kv_waste='0.1' has no unit: write a string such as '10 %'"),
        ("latency", {"e2e_p50": "1\n2 s"}, "e2e_p50='1\\n2 s' is not a duration: write a string such as '300 ms'"),
        (
            "memory",
            {},
            "limits nothing; give at least one of peak, growth, retained, idle, unloaded, host_peak, weights, "
            "kv_cache, kv_reserved, required, kv_waste, offload",
        ),
        ("energy", {"device": "NVIDIA*"}, "limits nothing; give at least one of total, per_output_token, mean_power"),
        ("memory", {"peak": "1 GiB", "device": 7}, "device=7 is not a name or glob"),
        ("memory", {"peak": "1 GiB", "engine": ""}, "engine='' is not a name or glob"),
        (
            "memory",
            {"peak": "16 GB", "growth": "1 GiB"},
            "mixes peak='16 GB' (powers of 1000) with growth='1 GiB' (powers of 1024); write both in one",
        ),
    ],
)
def test_a_mistake_is_refused_in_one_line(group: str, arguments: dict[str, object], message: str) -> None:
    assert refusal(group, **arguments) == message


def test_bytes_go_with_both_kinds_of_sizes_and_shares_with_any() -> None:
    assert len(limits("memory", peak="16 GiB", retained="0 B", kv_waste="5 %")) == 3
    assert len(limits("memory", peak="16 GB", retained="0 B", kv_waste="5 %")) == 3


# ------------------------------------------------------------------------------------------------- engines and devices


@pytest.mark.parametrize(
    ("glob", "name", "meant"),
    [
        ("NVIDIA H100*", "NVIDIA H100 80GB HBM3", True),
        ("NVIDIA H100", "NVIDIA H100 80GB HBM3", False),
        ("nvidia*", "NVIDIA L4", False),
        ("NVIDIA [AL]4", "NVIDIA L4", True),
        ("test_a[cpu-1]", "test_a[cpu-1]", True),
        ("test_a[cpu-1]", "test_ac", True),
        ("test_a[cpu-1]", "test_a", False),
    ],
)
def test_a_glob_means_names_in_their_own_case_and_a_name_means_itself(glob: str, name: str, meant: bool) -> None:
    assert matches(name, glob) is meant


@pytest.mark.parametrize(
    ("scope", "engine", "applies"),
    [
        ({}, L4, True),
        ({"device": "NVIDIA L4"}, L4, True),
        ({"device": "NVIDIA H100*"}, L4, False),
        ({"engine": "vllm"}, L4, True),
        ({"engine": "vllm"}, CPU, False),
        ({"engine": "v*", "device": "*L4"}, L4, True),
        ({"engine": "vllm", "device": "NVIDIA H100*"}, L4, False),
        ({"engine": "ollama", "device": "NVIDIA L4"}, L4, False),
        ({"device": "*"}, EngineInfo("openai", "", "m"), True),
        ({"device": "unknown device"}, EngineInfo("openai", "", "m"), True),
        ({"device": "NVIDIA*"}, EngineInfo("openai", "", "m"), False),
        ({"device": "NVIDIA L4"}, EngineInfo("vllm", "", "m", (*CPU.devices, *L4.devices)), True),
        ({"device": "NVIDIA L4"}, None, True),
        ({"device": None}, CPU, True),
    ],
)
def test_a_limit_applies_to_the_engines_and_devices_it_names(
    scope: dict[str, object], engine: EngineInfo | None, applies: bool
) -> None:
    [limit] = limits("memory", peak="1 GiB", **scope)
    assert limit.applies_to(engine) is applies


# -------------------------------------------------------------------------------------------------------------- layers


def test_layers_are_merged_key_by_key_and_the_closest_wins() -> None:
    function = limits("memory", peak="8 GiB")
    klass = limits("memory", peak="16 GiB", growth="1 GiB")
    module = limits("memory", growth="2 GiB", retained="64 MiB") + limits("latency", ttft_p95="1 s")
    assert texts(merge([function, klass, module])) == [
        ("memory.peak", "8 GiB"),
        ("memory.growth", "1 GiB"),
        ("memory.retained", "64 MiB"),
        ("latency.ttft_p95", "1 s"),
    ]


def test_each_percentile_is_a_limit_of_its_own() -> None:
    function, module = limits("latency", ttft_p50="1 s"), limits("latency", ttft_p95="2 s", ttft_p50="3 s")
    assert texts(merge([function, module])) == [("latency.ttft_p50", "1 s"), ("latency.ttft_p95", "2 s")]


def test_limits_for_different_devices_stand_side_by_side() -> None:
    layer = limits("memory", peak="8 GiB", device="NVIDIA L4") + limits("memory", peak="4 GiB", device="AMD*")
    merged = merge([layer])
    assert texts(select(merged, L4)) == [("memory.peak", "8 GiB")]
    assert texts(select(merged, CPU)) == [("memory.peak", "4 GiB")]


def test_of_several_that_apply_the_closest_is_chosen() -> None:
    near, far = limits("memory", peak="8 GiB"), limits("memory", peak="4 GiB", device="NVIDIA L4")
    assert texts(select(merge([near, far]), L4)) == [("memory.peak", "8 GiB")]
    assert texts(select(merge([far, near]), L4)) == [("memory.peak", "4 GiB")]
    assert texts(select(merge([far, near]), CPU)) == [("memory.peak", "8 GiB")]


def test_a_closer_limit_that_does_not_apply_leaves_the_farther_one_standing() -> None:
    near, far = limits("memory", peak="8 GiB", device="NVIDIA H100*"), limits("memory", peak="4 GiB")
    assert texts(select(merge([near, far]), L4)) == [("memory.peak", "4 GiB")]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"ttft_p95": "1 s"}, {"ttft_p95": "2 s"}),
        ({"ttft_p95": "1 s"}, {"ttft_p095": "1 s"}),
        ({"ttft_p95": "1 s", "engine": "vllm"}, {"ttft_p95": "2 s", "engine": "vllm"}),
    ],
)
def test_a_layer_that_limits_the_same_twice_is_refused(first: dict[str, str], second: dict[str, str]) -> None:
    with pytest.raises(BudgetError, match=r"^test_it: @latency_budget: latency.ttft_p95 is limited twice; test_it: "):
        merge([limits("latency", **first) + limits("latency", **second)])


def test_nothing_is_merged_from_nothing() -> None:
    assert merge([]) == merge([[], []]) == select([], CPU) == []


# -------------------------------------------------------------------------------------------------- against a baseline


@pytest.mark.parametrize(
    ("text", "share"),
    [("+10 %", 0.1), ("+10%", 0.1), (" + 10 % ", 0.1), ("-5 %", -0.05), ("+0 %", 0.0), ("+.5 %", 0.005)],
)
@pytest.mark.parametrize(("group", "key"), [("latency", "ttft_p95"), ("throughput", "output"), ("memory", "kv_waste")])
def test_a_limit_that_begins_with_a_sign_is_a_share_of_the_baseline(
    group: str, key: str, text: str, share: float
) -> None:
    [limit] = limits(group, **{key: text})
    assert limit.relative
    assert limit.value == pytest.approx(share)
    assert limit.text == text.strip()


@pytest.mark.parametrize("pair", [("300 ms", "+10 %"), ("+10 %", "300 ms"), ["300 ms", "+10 %"]])
def test_both_kinds_may_limit_one_metric(pair: object) -> None:
    found = limits("latency", ttft_p95=pair)
    assert sorted((limit.relative, limit.value) for limit in found) == [(False, 0.3), (True, 0.1)]
    assert merge([found]) == found
    assert select(found, None) == found


@pytest.mark.parametrize(
    ("group", "key", "value", "message"),
    [
        ("latency", "ttft_p95", ("1 s", "2 s"), "is not one limit with one against the baseline"),
        ("latency", "ttft_p95", ("+1 %", "+2 %"), "is not one limit with one against the baseline"),
        ("latency", "ttft_p95", ("1 s",), "is not one limit with one against the baseline"),
        ("latency", "ttft_p95", [], "is not one limit with one against the baseline"),
        ("latency", "ttft_p95", "+300 ms", "begins with a sign, so that it is against the baseline and a share"),
        ("memory", "peak", "+1 GiB", "write '+10 %', or without the sign, such as '16 GiB'"),
        ("memory", "peak", "-3 GiB", "is negative"),
        ("latency", "ttft_p95", "+nan %", "is not a share of the baseline"),
        ("latency", "ttft_p95", "+inf %", "is not a share of the baseline"),
        ("latency", "ttft_p95", "+-1 %", "is not a share of the baseline"),
        ("latency", "ttft_p95", "-100 %", "limits nothing (no value can be lower): write how much more is allowed"),
        ("latency", "ttft_p95", "+5000 %", "limits nothing (eleven times the baseline)"),
        ("throughput", "output", "-100 %", "write how much less is allowed, such as '-5 %'"),
        ("throughput", "output", "-1e9 %", "is not a share of the baseline"),
    ],
)
def test_what_is_no_limit_against_a_baseline_is_refused_in_one_line(
    group: str, key: str, value: object, message: str
) -> None:
    refused = refusal(group, **{key: value})
    assert refused.startswith(f"{key}=")
    assert message in refused


def test_a_closer_limit_replaces_a_farther_one_of_its_kind_only() -> None:
    near, far = limits("latency", ttft_p95="+5 %"), limits("latency", ttft_p95=("300 ms", "+10 %"))
    assert texts(merge([near, far])) == [("latency.ttft_p95", "+5 %"), ("latency.ttft_p95", "300 ms")]


# ------------------------------------------------------------------------------------------------------------- quality


def test_what_next_tokens_are_compared_with_stands_beside_their_limits_only() -> None:
    found = parse_limits("quality", {"agreement": "95 %", "accuracy": "0.8", "against": "q8", "text": "a.txt"}, "test")
    assert [(one.name, one.against, one.text_file) for one in found] == [
        ("quality.agreement", "q8", "a.txt"),
        ("quality.accuracy", None, None),
    ]
    assert [one.definition.better for one in found] == ["higher", "higher"]


@pytest.mark.parametrize(
    ("written", "value", "better", "relative"),
    [
        ("0.8", 0.8, "higher", False),
        (">= 80 %", 0.8, "higher", False),
        ("<= 0.2", 0.2, "lower", False),
        ("-2 %", -0.02, "higher", True),
        ("<= +5 %", 0.05, "lower", True),
    ],
)
def test_a_name_that_is_no_metric_is_a_score(written: str, value: float, better: str, relative: bool) -> None:
    (found,) = parse_limits("quality", {"wer": written}, "test")
    assert (found.name, found.definition.better, found.relative) == ("quality.wer", better, relative)
    assert found.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"accuracy": "83"}, "accuracy='83' is more than all: it is a share of at most 1"),
        ({"accuracy": "nan"}, "accuracy='nan' is not a finite score"),
        ({"agreement": "101 %"}, "agreement='101 %' is more than all: it is a share of at most '100 %'"),
        ({"agreement": "0.95"}, "agreement='0.95' has no unit"),
        ({"kl": "0.05"}, "kl='0.05' has no unit: write a string such as '0.05 nat'"),
        ({"kl": "<= 0.05 nat"}, "kl='<= 0.05 nat' is not a divergence"),
        ({"agreemnt": "95 %"}, "unknown key 'agreemnt'; did you mean agreement?"),
        ({"again": "q8", "kl": "1 nat"}, "unknown key 'again'; did you mean against?"),
        ({"Accuracy": "0.8"}, "unknown key 'Accuracy'"),
        ({"accuracy": "0.8", "against": "q8"}, "against='q8' has no effect without a limit on agreement or kl"),
        ({"kl": "1 nat", "against": 8}, "against=8 is not a name or glob"),
        ({"text": "a.txt"}, "text='a.txt' has no effect without a limit on agreement or kl"),
    ],
)
def test_a_quality_budget_that_means_nothing_is_refused(arguments: dict[str, object], said: str) -> None:
    assert said in refusal("quality", **arguments)
