"""A measurement as plain data: reports/wire/."""

from __future__ import annotations

import json
from dataclasses import replace
from enum import IntEnum
from typing import Any

import pytest

from pytest_llmperf.measurement.chunks import Chunk
from pytest_llmperf.measurement.device_trace import Conditions, Energy
from pytest_llmperf.measurement.measurement import Measurement
from pytest_llmperf.measurement.memory_trace import MemoryTrace
from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.reports.result import from_wire, to_wire
from pytest_llmperf.reports.wire.measurement import measurement_to_wire
from pytest_llmperf.reports.wire.memory import TIMELINE_POINTS
from pytest_llmperf.reports.wire.readings import find_metric, find_reason
from pytest_llmperf.reports.wire.requests import REQUEST_RECORDS
from tests.helpers.device_samples import THROTTLED, on
from tests.helpers.report_samples import ENGINE, GIB, MS, START, measurement, request, result, trace

PLAIN = (dict, list, str, int, float, bool, type(None))


def foreign(value: Any) -> list[Any]:
    """Everything inside ``value`` that is not exactly of a builtin type."""
    if type(value) is dict:
        return [x for pair in value.items() for part in pair for x in foreign(part)]
    if type(value) is list:
        return [x for part in value for x in foreign(part)]
    return [] if type(value) in PLAIN else [value]


class Code(IntEnum):
    OK = 200


class Text(str):
    __slots__ = ()


class Number(float):
    __slots__ = ()


def test_everything_is_exactly_of_a_builtin_type_even_where_subclasses_went_in() -> None:
    odd = RequestTiming(START, START + MS, status=Code.OK, finish_reason=Text("stop"), error=Text("no"))
    strange = replace(
        measurement(),
        requests=(*measurement().requests, odd),
        engine_readings={"memory.weights": Reading(Number(5.0), Text("said so"), samples=Code.OK)},
        faults=(Text("a fault"),),
    )
    wire = measurement_to_wire(strange)
    assert foreign(wire) == []
    assert wire["readings"]["memory.weights"]["value"] == 5.0
    assert wire["requests"]["records"][-1]["status"] == 200


def test_it_survives_json_and_the_way_through_a_result() -> None:
    original = result()
    again = from_wire(json.loads(json.dumps(to_wire(original), allow_nan=False)))
    assert again == original


def test_an_empty_measurement_is_plain_data_too() -> None:
    wire = measurement_to_wire(Measurement(Window(START, START)))
    assert wire["engine"] is None
    assert wire["memory"] is None
    assert wire["requests"]["tokens"] == {"output": None, "prompt": None, "cached": None}
    assert foreign(wire) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_becomes_none_with_a_reason(value: float) -> None:
    wire = measurement_to_wire(replace(measurement(), engine_readings={"memory.weights": Reading(value)}))
    assert "memory.weights" not in wire["readings"]
    assert find_reason(wire, "memory.weights") == "the value is not a finite number"


def test_a_reading_has_its_value_in_the_base_unit_and_its_origin() -> None:
    wire = measurement_to_wire(measurement())
    reading = wire["readings"]["memory.peak"]
    assert reading["value"] == int(17.3 * GIB)
    assert (reading["samples"], find_reason(wire, "memory.peak")) == (400, "")
    assert "resident memory" in wire["memory"]["source"]
    assert "how" not in reading
    assert wire["readings"]["memory.kv_cache"]["how"] == "blocks in use × block size"
    assert find_metric(wire, "memory.peak")["unit"] == "B"
    assert find_metric(wire, "latency.ttft_p99_9") == {"unit": "s", "better": "lower", "formula": "t1 − t0"}


def test_what_has_no_value_says_why_and_each_reason_stands_once() -> None:
    wire = measurement_to_wire(replace(measurement(), requests=(), memory=None, memory_missing="no access"))
    assert find_reason(wire, "memory.peak") == "no access"
    assert find_reason(wire, "latency.ttft") == "the test sent no request through llm_client"
    assert {"latency.ttft", "latency.e2e"} <= set(wire["missing"]["the test sent no request through llm_client"])
    named = [name for names in wire["missing"].values() for name in names]
    assert not {"latency.ttft_p50", "throughput.goodput"} & set(named)
    assert not set(named) & set(wire["readings"])
    assert wire["distributions"] == {}


def test_percentiles_stop_where_the_samples_do_but_the_extremes_are_always_there() -> None:
    wire = measurement_to_wire(measurement())
    assert wire["readings"]["latency.ttft_p50"] == {"value": pytest.approx(0.1), "samples": 12}
    assert "latency.ttft_p95" not in wire["readings"]
    limited = measurement_to_wire(measurement(), ["latency.ttft_p95"])
    assert find_reason(limited, "latency.ttft_p95") == "p95 needs 130 requests, the test gave 12"
    assert wire["readings"]["latency.ttft_max"]["value"] == pytest.approx(0.1)
    spread = wire["distributions"]["latency.ttft"]
    assert (spread["count"], spread["requests"]) == (12, 12)
    assert spread["min"] == spread["mean"] == pytest.approx(0.1)


def test_numbers_are_rounded_but_for_whole_ones_and_those_with_a_budget() -> None:
    odd = replace(measurement(), requests=(replace(request(0), chunks=(Chunk(START + 123_456_789),)),))
    assert measurement_to_wire(odd)["readings"]["latency.ttft_max"]["value"] == 0.123457
    exact = measurement_to_wire(odd, ["latency.ttft_max"])["readings"]
    assert exact["latency.ttft_max"]["value"] == 0.123456789
    assert exact["memory.peak"]["value"] == int(17.3 * GIB)


def test_the_noise_of_a_rate_and_the_accuracy_of_a_sensor_are_kept() -> None:
    device = on(trace())
    on_a_gpu = replace(measurement(), engine=replace(ENGINE, devices=(device.device,)), devices=(device,))
    wire = measurement_to_wire(on_a_gpu)
    noise = wire["evidence"]["throughput.output"]
    assert (noise["units"], noise["unit"]) == (12, "request")
    assert 0 < noise["noise"] < 0.1
    assert 1 <= noise["effective"] <= 12
    assert 0 < wire["evidence"]["energy.total"]["share"] < 0.2
    assert "memory.peak" not in wire["evidence"]


def test_what_makes_verdicts_invalid_is_kept() -> None:
    assert measurement_to_wire(measurement())["validity"] == []
    (objection,) = measurement_to_wire(replace(measurement(), faults=("it was swapped",)))["validity"]
    assert (objection["reason"], objection["undoes"]) == ("it was swapped", "any")
    assert "latency.ttft" in objection["metrics"]


def test_a_latency_with_the_values_of_another_is_not_repeated_unless_it_is_limited() -> None:
    wire = measurement_to_wire(measurement())
    assert find_reason(wire, "latency.ttft_answer") == "all its values are those of latency.ttft"
    assert "latency.ttft_answer" not in wire["distributions"]
    limited = measurement_to_wire(measurement(), ["latency.ttft_answer_max"])
    assert limited["readings"]["latency.ttft_answer_max"]["value"] == pytest.approx(0.1)
    assert "latency.ttft_answer" in limited["distributions"]


def test_the_statistics_of_the_limits_are_read_as_well() -> None:
    enough = replace(measurement(), requests=tuple(request(i) for i in range(30)))
    assert "latency.ttft_p40" not in measurement_to_wire(enough)["readings"]
    readings = measurement_to_wire(enough, ["latency.ttft_p40", "memory.peak"])["readings"]
    assert readings["latency.ttft_p40"]["value"] == pytest.approx(0.1)
    assert "latency.tpot_p40" not in readings


def test_goodput_is_left_to_the_verdict() -> None:
    assert "throughput.goodput" not in measurement_to_wire(measurement())["readings"]


def test_requests_are_counted_in_full_and_recorded_up_to_a_bound() -> None:
    many = tuple(request(i, tokens=2) for i in range(REQUEST_RECORDS + 5))
    wire = measurement_to_wire(replace(measurement(), requests=(*many, request(0, error="refused"))))["requests"]
    assert (wire["total"], wire["failed"]) == (REQUEST_RECORDS + 6, 1)
    assert (len(wire["records"]), wire["requests_left_out"]) == (REQUEST_RECORDS, 6)
    assert wire["tokens"] == {"output": 2 * (REQUEST_RECORDS + 5), "prompt": 7 * (REQUEST_RECORDS + 5), "cached": 0}


def test_a_request_is_placed_on_the_clock_of_the_test() -> None:
    scheduled = replace(request(300), scheduled_ns=START + 250 * MS)
    record = measurement_to_wire(replace(measurement(), requests=(scheduled,)))["requests"]["records"][0]
    assert (record["scheduled_ms"], record["sent_ms"]) == (250.0, 300.0)
    assert record["ttft_s"] == pytest.approx(0.15)
    assert record["tpot_s"] == pytest.approx(0.01)
    assert (record["output_tokens"], record["chunks"], record["finish_reason"]) == (20, 20, "length")


def test_a_sum_of_tokens_is_not_stated_when_one_answer_was_not_counted() -> None:
    uncounted = replace(request(0), output_tokens=None)
    wire = measurement_to_wire(replace(measurement(), requests=(request(0), uncounted)))
    assert wire["requests"]["tokens"]["output"] is None
    assert wire["requests"]["tokens"]["prompt"] == 14


def test_the_memory_timeline_is_small_and_keeps_its_spike() -> None:
    memory = measurement_to_wire(replace(measurement(), memory=trace(5000, peak=20 * GIB)))["memory"]
    assert len(memory["timeline"]) <= TIMELINE_POINTS
    assert max(value for _, value in memory["timeline"]) == 20 * GIB == memory["peak_bytes"]
    assert memory["timeline"][0][0] == -10.0
    assert memory["samples"] == 5000
    assert memory["max_gap_s"] == pytest.approx(0.01)


def test_a_trace_without_samples_has_no_peak() -> None:
    memory = measurement_to_wire(replace(measurement(), memory=MemoryTrace((), "nothing", fault="it died")))["memory"]
    assert (memory["peak_bytes"], memory["timeline"], memory["fault"]) == (None, [], "it died")


def test_a_window_has_readings_of_its_own_and_none_that_hold_for_the_whole_test() -> None:
    window = measurement_to_wire(measurement())["windows"][0]
    assert (window["name"], window["start_ms"], window["seconds"]) == ("prefill", 0.0, 1.0)
    assert window["readings"]["latency.ttft_max"]["samples"] == 4
    assert "memory.kv_cache" not in window["readings"]
    assert "latency.startup" not in window["readings"]


def test_what_an_engine_counted_goes_along() -> None:
    counted = replace(measurement(), engine_stats={"preemptions": Number(7.0), "queue_mean_seconds": float("nan")})
    wire = measurement_to_wire(counted)
    assert foreign(wire) == []
    assert wire["engine_stats"] == {"preemptions": 7.0, "queue_mean_seconds": None}


def test_a_device_has_its_memory_its_energy_and_its_conditions() -> None:
    wire = measurement_to_wire(replace(measurement(), devices=(on(trace(), conditions=THROTTLED),)))
    (device,) = wire["devices"]
    assert device["device"] == {"kind": "cuda", "name": "NVIDIA L4", "uuid": "GPU-11111111-aaaa"}
    assert (device["memory"]["attribution"], device["memory"]["samples"]) == ("tree", 400)
    assert device["energy"] == {
        "joules": 300.0,
        "above_idle_joules": 180.0,
        "idle_watts": 40.0,
        "instant_watts": 99.0,
        "tick_s": 0.02,
        "how": "energy counter from tick to tick",
        "reason": "",
        "fault": "",
    }
    assert device["conditions"]["throttled_s"] == {"software power cap": 1.5, "hardware thermal": 0.0}
    assert device["conditions"]["temperature_c"] == [41.0, 67.0]
    assert device["conditions"]["newcomers"] == [{"pid": 4711, "name": "trainer"}, {"pid": 4712, "name": ""}]
    assert foreign(wire) == []


def test_a_device_of_which_little_is_known_is_plain_data_too() -> None:
    bare = replace(
        measurement(), devices=(on(MemoryTrace((), "none", attribution="pids"), energy=Energy(reason="none")),)
    )
    (device,) = measurement_to_wire(bare)["devices"]
    assert (device["energy"]["joules"], device["energy"]["reason"]) == (None, "none")
    assert (device["conditions"]["temperature_c"], device["conditions"]["throttled_s"]) == (None, {})
    assert device["memory"]["attribution"] == "pids"
    assert foreign(device) == []


def test_what_is_not_finite_of_a_device_becomes_none() -> None:
    odd = on(trace(), energy=Energy(joules=float("nan")), conditions=Conditions(temperature_c=(1.0, float("inf"))))
    (device,) = measurement_to_wire(replace(measurement(), devices=(odd,)))["devices"]
    assert (device["energy"]["joules"], device["conditions"]["temperature_c"]) == (None, [1.0, None])


def test_half_of_a_surrogate_pair_in_what_a_server_says_is_spelled_out() -> None:
    odd = replace(request(0), model="m\udfff", finish_reason="st\ud83dop")
    failed = request(300, error="\ud83d")
    wire = measurement_to_wire(replace(measurement(), requests=(odd, failed)))
    assert wire["requests"]["models"] == {"m\\udfff": 1}
    assert wire["requests"]["errors"] == {"\\ud83d": 1}
    assert wire["requests"]["records"][0]["finish_reason"] == "st\\ud83dop"
    assert json.dumps(wire["requests"], ensure_ascii=False).encode()
