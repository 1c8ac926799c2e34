"""What is read from a whole measurement, and what is said where there is nothing to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.measurement.engine_info import EngineInfo
from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.metrics.missing import NO_TOKEN_COUNT
from pytest_llmperf.metrics.statistics import Statistic
from pytest_llmperf.metrics.table import METRICS, read
from pytest_llmperf.metrics.throughput import compute_rate
from tests.helpers.streams import CPU, L4, MS, measured, stream, trace, whole

if TYPE_CHECKING:
    from pytest_llmperf.measurement.request import RequestTiming

P50 = Statistic(50.0)
MAX = Statistic(None)

# -------------------------------------------------------------------------------------------- latencies of a whole test


def test_a_percentile_of_enough_requests_is_stated_with_its_formula_and_number() -> None:
    requests = [stream(100 + i, sent_ms=0, output_tokens=1) for i in range(11)]
    assert read("latency.ttft_p50", measured(*requests)) == Reading(0.105, "t1 − t0, 11 requests", samples=11)


def test_one_sample_too_few_is_refused_and_not_guessed() -> None:
    requests = [stream(100, output_tokens=1)] * 10
    reading = read("latency.ttft_p50", measured(*requests))
    assert reading == Reading.missing("p50 needs 11 requests, the test gave 10", needs_more=True)


def test_gaps_are_counted_by_the_token_and_by_the_chunk() -> None:
    request = stream(*range(100, 220, 10), output_tokens=12)
    assert read("latency.itl_max", measured(request)).how.endswith(", 11 tokens")
    assert read("latency.chunk_gap_max", measured(request)).how.endswith(", 11 chunks")
    short = stream(100, 110, output_tokens=2)
    assert read("latency.itl_max", measured(short)).how.endswith(", 1 token")


@pytest.mark.parametrize(("metric", "sample"), [("latency.itl", "token"), ("latency.chunk_gap", "chunk")])
def test_the_gaps_of_one_request_are_not_many_samples(metric: str, sample: str) -> None:
    long = stream(*range(100, 7100, 10), output_tokens=700)
    reading = read(f"{metric}_p99", measured(long))
    assert reading == Reading.missing(f"p99 needs 662 requests, the test gave 1, with 699 {sample}s", needs_more=True)
    enough = [stream(100, 110, output_tokens=2)] * 11
    assert read(f"{metric}_p50", measured(*enough)).value == 0.01


def test_requests_that_give_no_value_are_not_passed_over_in_silence() -> None:
    reading = read("latency.ttft_max", measured(stream(100, output_tokens=1), whole(0, 900, output_tokens=9)))
    assert reading.value == 0.1
    assert reading.how == "t1 − t0, 1 request of 1 of 2 requests"


def test_answers_that_never_came_do_not_make_the_others_look_fast() -> None:
    answered = stream(50, 80, kinds=("reasoning", "text"), output_tokens=2)
    thinking = stream(50, 900, kinds=("reasoning", "reasoning"), output_tokens=2)
    reading = read("latency.ttft_answer_max", measured(answered, thinking))
    assert reading == Reading.missing("1 of 2 answers never got past their reasoning")
    assert read("latency.ttft_max", measured(answered, thinking)).value == 0.05


@pytest.mark.parametrize(
    ("name", "requests", "reason"),
    [
        ("latency.ttft", [], "the test sent no request through llm_client"),
        ("latency.ttft", [stream(error="HTTP 500")], "no request was answered"),
        ("latency.ttft", [whole(0, 100, output_tokens=3)], "answers were not streamed: use stream=True"),
        (
            "latency.ttft",
            [whole(0, 100, output_tokens=3), stream(error="HTTP 500")],
            "answers were not streamed: use stream=True",
        ),
        ("latency.tpot", [stream(100, output_tokens=1)], "no answer was long enough to give tpot"),
        ("latency.tpot", [stream(100, 120)], NO_TOKEN_COUNT),
        (
            "latency.itl",
            [stream(100, 120, output_tokens=8)],
            "the server sends several tokens in a chunk and does not say how many",
        ),
        (
            "latency.ttft_answer",
            [stream(100, kinds=("reasoning",), output_tokens=1)],
            "no answer got past its reasoning",
        ),
    ],
)
def test_a_latency_that_is_missing_says_why(name: str, requests: list[RequestTiming], reason: str) -> None:
    assert read(f"{name}_max", measured(*requests)) == Reading.missing(reason)


def test_the_time_to_load_is_the_engines() -> None:
    assert read("latency.startup", measured(engine=CPU)).value == 2.5
    attached = EngineInfo("openai", "", "m")
    reason = "the engine was already running, so its start was not timed"
    assert read("latency.startup", measured(engine=attached)).reason == reason
    assert read("latency.startup", measured(engine=None)).reason == "the test used no engine"


# ---------------------------------------------------------------------------------------------------------- throughput


TWO = (
    stream(100, 200, sent_ms=0, output_tokens=30, prompt_tokens=10),
    stream(300, 500, sent_ms=100, output_tokens=20, prompt_tokens=15),
)


@pytest.mark.parametrize(("key", "value"), [("output", 100.0), ("total", 150.0), ("requests", 4.0)])
def test_a_rate_is_taken_from_the_first_send_to_the_last_response(key: str, value: float) -> None:
    reading = read(f"throughput.{key}", measured(*TWO))
    assert reading == Reading(value, METRICS[f"throughput.{key}"].formula, samples=2)


def test_the_window_of_a_rate_is_neither_the_tests_nor_that_of_the_last_request_sent() -> None:
    outer = stream(100, 1000, sent_ms=0, output_tokens=60)
    inner = stream(300, 500, sent_ms=200, output_tokens=40)
    for requests in ((inner, outer), (outer, inner)):
        wide = measured(*requests, window=Window(-5000 * MS, 5000 * MS))
        assert read("throughput.output", wide).value == 100.0


def test_a_rate_over_an_exact_time_is_exact() -> None:
    for ms in range(1, 1000):
        assert compute_rate(ms, "", measured(whole(0, ms * 10))).value == 100.0, ms


def test_one_answer_without_a_count_leaves_no_sum() -> None:
    uncounted = measured(TWO[0], stream(300, 500))
    assert read("throughput.output", uncounted) == Reading.missing(NO_TOKEN_COUNT)
    no_prompt = measured(stream(100, 200, output_tokens=30))
    assert read("throughput.total", no_prompt) == Reading.missing(NO_TOKEN_COUNT)
    assert read("throughput.output", no_prompt).value == 150.0
    assert read("throughput.requests", uncounted).value == 4.0


def test_requests_that_took_no_time_have_no_rate() -> None:
    assert read("throughput.requests", measured(whole(5, 5))) == Reading.missing("the requests took no time")


def test_tokens_for_each_user_are_one_over_the_mean_time_per_token() -> None:
    slow, fast = stream(100, 130, output_tokens=2), stream(100, 110, output_tokens=2)
    reading = read("throughput.per_user", measured(slow, fast))
    assert reading.value == pytest.approx(50.0)
    assert reading.samples == 2


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (stream(100, output_tokens=1), "no answer was long enough to give tpot"),
        (stream(100, 100, output_tokens=2), "the tokens of each answer arrived all at once"),
        (whole(0, 100, output_tokens=9), "answers were not streamed: use stream=True"),
    ],
)
def test_tokens_for_each_user_need_gaps_between_tokens(request_: RequestTiming, reason: str) -> None:
    found = read("throughput.per_user", measured(request_))
    assert found == Reading.missing(reason)


def test_without_limits_there_is_no_goodput() -> None:
    assert "verdict" in read("throughput.goodput", measured(*TWO)).reason


# -------------------------------------------------------------------------------------------------- memory and the rest


@pytest.mark.parametrize(("key", "value"), [("peak", 170), ("host_peak", 170), ("growth", 70), ("retained", 5)])
def test_memory_is_read_from_the_trace(key: str, value: int) -> None:
    found = measured(memory=trace(100, 120, 170, 105, settled_bytes=105))
    assert read(f"memory.{key}", found) == Reading(value, "resident memory", samples=4)


def test_a_test_that_gives_memory_back_retains_less_than_nothing() -> None:
    assert read("memory.retained", measured(memory=trace(100, 90, settled_bytes=90))).value == -10


@pytest.mark.parametrize(
    ("key", "fields", "reason"),
    [
        ("peak", {"memory_missing": "the processes cannot be seen"}, "the processes cannot be seen"),
        ("peak", {}, "the test used no engine"),
        ("peak", {"memory": trace()}, "the sampler gave no sample"),
        ("growth", {"memory": trace(100, before_bytes=None)}, "no sample from before the test"),
        ("retained", {"memory": trace(100, before_bytes=None, settled_bytes=9)}, "no sample from before the test"),
        ("retained", {"memory": trace(100)}, "the run did not wait for the memory to settle"),
        ("retained", {"memory": trace(100, settled_reason="it still moved")}, "it still moved"),
        ("unloaded", {}, "the test did not call llm_engine.unload() or sleep()"),
        ("kv_cache", {}, "the engine llamacpp does not state it"),
        ("kv_cache", {"engine": None}, "the test used no engine"),
    ],
)
def test_memory_that_is_missing_says_why(key: str, fields: dict[str, object], reason: str) -> None:
    assert read(f"memory.{key}", measured(**fields)) == Reading.missing(reason)


@pytest.mark.parametrize("engine", [L4, EngineInfo("openai", "", "m")], ids=["gpu", "unknown device"])
def test_the_resident_memory_of_a_gpu_engine_is_not_passed_off_as_its_memory(engine: EngineInfo) -> None:
    found = measured(engine=engine, memory=trace(100, 170, settled_bytes=105))
    for key in ("peak", "growth", "retained"):
        reading = read(f"memory.{key}", found)
        assert reading.value is None
        assert "GPU" in reading.reason
    assert read("memory.host_peak", found).value == 170


def test_what_the_engine_states_is_taken_as_it_is() -> None:
    stated = Reading(2.0**30, "stated while loading")
    assert read("memory.weights", measured(engine_readings={"memory.weights": stated})) is stated


@pytest.mark.parametrize("key", ["total", "per_output_token", "mean_power"])
def test_energy_that_nobody_reads_is_missing_and_not_zero(key: str) -> None:
    reading = read(f"energy.{key}", measured(*TWO))
    assert reading == Reading.missing("no energy counter is read on AMD EPYC 7B13")


# ---------------------------------------------------------------------------------------------- what a test required


def kv(reserved: float | None, used: float | None) -> dict[str, Reading]:
    values = {"memory.kv_reserved": reserved, "memory.kv_cache": used}
    return {k: Reading.missing("not stated") if v is None else Reading(v) for k, v in values.items()}


def test_what_a_test_required_leaves_out_the_kv_cache_that_nobody_used() -> None:
    found = measured(memory=trace(900, 1000, 950), engine_readings=kv(600, 100))
    assert read("memory.required", found) == Reading(500, "resident memory", samples=3)


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        (kv(600, None), "memory.kv_cache is not known: not stated"),
        (kv(None, 100), "memory.kv_reserved is not known: not stated"),
        ({}, "memory.kv_reserved is not known: the engine llamacpp does not state it"),
        (kv(2000, 100), "the engine set aside more for its KV cache than it holds: not all of it is resident"),
    ],
)
def test_without_all_its_parts_there_is_no_telling_what_was_required(readings: dict[str, Reading], reason: str) -> None:
    found = measured(memory=trace(900, 1000, 950), engine_readings=readings)
    assert read("memory.required", found) == Reading.missing(reason)
