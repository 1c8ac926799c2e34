"""Limits for others: NO BUDGET, unless the test or the run shows that they are meant for others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.overlooked import judge_overlooked
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.engine_info import Device, EngineInfo
from pytest_llmperf.measurement.measurement import Measurement
from tests.helpers.streams import limits, measured

if TYPE_CHECKING:
    from pytest_llmperf.budgets.limit import Limit

L4 = EngineInfo("vllm", "0.32", "Qwen/Qwen3-0.6B", (Device("cuda", "NVIDIA L4"),))
CPU = EngineInfo("llamacpp", "1", "smollm2", (Device("cpu", "CPU AMD EPYC"),))
EVERYWHERE = limits("memory", peak="1 GiB")


@pytest.mark.parametrize("scope", [{"engine": "ollama"}, {"device": "NVIDIA H100*"}, {"engine": "vllm:llama*"}])
def test_a_metric_that_is_limited_for_others_only_has_no_budget_here(scope: dict[str, str]) -> None:
    [verdict] = judge_overlooked(EVERYWHERE + limits("latency", ttft_p50="1 s", **scope), measured(engine=L4))
    assert (verdict.status, verdict.name, verdict.limit) == (Status.NO_BUDGET, "latency.ttft_p50", None)
    [(key, glob)] = scope.items()
    assert verdict.reason.startswith(
        f"no limit of this test on latency.ttft_p50 is for vllm on NVIDIA L4; there is one for {key}={glob!r}: "
    )


def test_a_device_that_is_another_is_no_excuse_for_an_engine_that_is_this_one() -> None:
    scoped = limits("latency", ttft_p50="1 s", engine="vllm", device="NVIDIA H100*")
    assert len(judge_overlooked(EVERYWHERE + scoped, measured(engine=L4), ["vllm"])) == 1


def test_several_limits_on_one_metric_are_one_verdict() -> None:
    scoped = limits("latency", ttft_p50="1 s", engine="ollama") + limits("latency", ttft_p50="2 s", engine="openai")
    [verdict] = judge_overlooked(EVERYWHERE + scoped, measured(engine=L4))
    assert "engine='ollama', engine='openai'" in verdict.reason


@pytest.mark.parametrize(
    ("others", "engine"),
    [
        (limits("memory", peak="2 GiB", engine="ollama"), L4),
        (limits("memory", kv_cache="1 GiB", engine="vllm") + limits("memory", growth="1 GiB", engine="llamacpp"), CPU),
        (limits("energy", total="1 J", device="NVIDIA*") + limits("memory", growth="1 GiB", device="CPU *"), CPU),
        (limits("memory", kv_cache="1 GiB", engine="vllm"), L4),
    ],
    ids=["another limit on the metric", "this engine is named too", "this device is named too", "it applies"],
)
def test_what_is_meant_for_others_is_no_mistake(others: list[Limit], engine: EngineInfo) -> None:
    assert judge_overlooked([*EVERYWHERE, *others], measured(engine=engine)) == []


def test_a_limit_for_another_engine_of_the_run_is_no_mistake() -> None:
    scoped = EVERYWHERE + limits("memory", kv_cache="1 GiB", engine="vllm")
    assert judge_overlooked(scoped, measured(engine=CPU), ["llamacpp", "vllm", "vllm:Qwen/Qwen3-0.6B"]) == []
    assert len(judge_overlooked(scoped, measured(engine=CPU), ["llamacpp"])) == 1


def test_a_limit_for_one_of_several_engines_of_the_test_is_read() -> None:
    parts = Measurement(measured(engine=CPU).window, CPU, parts=(measured(engine=CPU), measured(engine=L4)))
    assert judge_overlooked(EVERYWHERE + limits("memory", kv_cache="1 GiB", engine="vllm"), parts) == []
    [verdict] = judge_overlooked(EVERYWHERE + limits("memory", kv_cache="1 GiB", engine="ollama"), parts)
    assert "llamacpp on CPU AMD EPYC and vllm on NVIDIA L4" in verdict.reason


def test_a_test_of_which_no_limit_applies_is_judged_as_a_whole() -> None:
    assert judge_overlooked(limits("memory", peak="1 GiB", device="NVIDIA H100*"), measured(engine=L4)) == []


def test_a_test_without_an_engine_overlooks_nothing() -> None:
    assert judge_overlooked(limits("memory", peak="1 GiB", device="NVIDIA H100*"), Measurement(measured().window)) == []
