"""Loads in the reports: what was asked, what came, how the client fared, and no more than a reader can take."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import jsonschema
import pytest

from pytest_llmperf.measurement.load import ClientHealth, Lag, Load, Spread
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.reports import json_report
from pytest_llmperf.reports.evidence import collect_evidence
from pytest_llmperf.reports.wire.measurement import measurement_to_wire
from pytest_llmperf.reports.wire.requests import REQUEST_RECORDS
from pytest_llmperf.traffic.load.process import LoadOutcome
from pytest_llmperf.traffic.load.result import Asked, summarize
from pytest_llmperf.traffic.load.schedule import Schedule
from pytest_llmperf.traffic.workloads.workload import workload
from tests.helpers import report_samples
from tests.helpers.report_samples import MS, START
from tests.helpers.streams import stream, whole

if TYPE_CHECKING:
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import RequestTiming

HEALTH = ClientHealth("uvloop 0.23.0", Lag(0.0001, 0.0002, 0.0004, 0.002), 0.12, Lag(0.0001, 0.0002, 0.0009, 0.003), 40)
LOAD = Load(
    asked="60 prompts of 8 to 16 tokens, answers of 9, seed 1; open loop, Poisson, 30 req/s",
    steady=Window(START + 100 * MS, START + 2100 * MS),
    health=HEALTH,
    prompt_asked=Spread(8, 12.0, 16, 60),
    prompt_came=Spread(8, 12.0, 16, 60),
    output_asked=Spread(9, 9.0, 9, 60),
    output_came=Spread(3, 8.6, 9, 60),
    full_answers=55,
)


def measured(*loads: Load, requests: tuple[RequestTiming, ...] = ()) -> Measurement:
    sample = report_samples.measurement()
    return replace(sample, loads=loads, requests=requests or sample.requests)


GROWN = replace(
    LOAD, stretches=(Window(START + 100 * MS, START + 600 * MS), Window(START + 1600 * MS, START + 2100 * MS))
)


def test_of_a_load_that_grew_it_says_over_what_it_is_judged() -> None:
    wire = measurement_to_wire(measured(GROWN))
    assert "grew to 2 stretches, judged over their steady parts of 1.00 s together" in {
        text: label for label, text in collect_evidence(wire)
    }
    assert [span["start_ms"] for span in wire["loads"][0]["stretches"]] == [100, 1600]


@pytest.mark.parametrize(
    "load", [LOAD, GROWN, Load("x", None, fault="the load client died", stopped="it was interrupted")]
)
def test_a_report_with_a_load_is_valid_under_the_schema(load: Load) -> None:
    report = json.loads(json_report.render([report_samples.result(measured=measured(load))], {}))
    jsonschema.Draft202012Validator(json_report.read_schema()).validate(report)


def test_the_evidence_says_what_was_asked_what_came_and_how_the_client_fared() -> None:
    found = collect_evidence(measurement_to_wire(measured(LOAD)))
    assert [text for label, text in found if label in ("load", "tokens", "client")] == [
        LOAD.asked,
        "judged over its steady part of 2.00 s",
        "prompt: asked 8 to 16, mean 12; came 8 to 16, mean 12",
        "output: asked 9; came 3 to 9, mean 9; 55 of 60 answers as long as asked",
        "uvloop 0.23.0, 12 % of a core; sent late by 100 us (p50), 900 us (p99), 3.00 ms (max); "
        "its event loop late by 100 us (p50), 400 us (p99), 2.00 ms (max)",
    ]


def test_a_report_holds_requests_evenly_apart_and_says_how_many_it_leaves_out() -> None:
    requests = tuple(whole(at, at + 5, error=f"error {at % 30}") for at in range(5000))
    found = measurement_to_wire(measured(LOAD, requests=requests))["requests"]
    sent = [record["sent_ms"] for record in found["records"]]
    assert (len(sent), found["requests_left_out"]) == (REQUEST_RECORDS, 4000)
    assert (sent[0], sent[-1]) == (-START / MS, 4999 - START / MS)
    assert {later - earlier for earlier, later in pairwise(sent)} <= {5, 6}
    assert found["failed"] == 5000
    assert len(found["errors"]) == 20


# ---------------------------------------------------------------------------------------------- from outcome to a load


def outcome(*timings: RequestTiming, **fields: object) -> LoadOutcome:
    return LoadOutcome(**{"timings": dict(enumerate(timings)), "begun_ns": 0, "health": None, "stopped": "", **fields})  # type: ignore[arg-type]


def test_a_load_is_judged_from_its_first_steady_request_to_the_first_of_its_cool_down() -> None:
    timings = [
        stream(at + 30, sent_ms=at, output_tokens=1, prompt_tokens=4, end_ns=(at + 35) * MS) for at in range(0, 100, 10)
    ]
    wanted = [Asked(1, 5)] * 10
    plain = workload(prompt_tokens=5, requests=10)
    result = summarize(plain, Schedule(concurrency=1, warmup=2, cooldown=3), wanted, outcome(*reversed(timings)))
    assert [r.phase for r in result.requests] == ["warmup"] * 2 + ["steady"] * 5 + ["cooldown"] * 3
    assert result.load.steady == Window(20 * MS, 70 * MS, "steady")
    assert (result.load.prompt_asked, result.load.prompt_came) == (Spread(5, 5, 5, 10), Spread(4, 4, 4, 10))
    assert result.load.full_answers == 10
    to_its_end = summarize(plain, Schedule(concurrency=1, warmup=2), wanted, outcome(*timings))
    assert to_its_end.load.steady == Window(20 * MS, 125 * MS, "steady")


@pytest.mark.parametrize(
    ("timings", "fields", "fault"),
    [
        ((), {}, "the load sent no request"),
        ((stream(5),), {"stopped": "it was interrupted"}, "the load was stopped after 1 requests: it was interrupted"),
        ((stream(5),), {}, "all 1 requests fell into ramp, warm-up and cool-down"),
    ],
)
def test_a_load_without_a_steady_part_is_a_fault(
    timings: tuple[RequestTiming, ...], fields: dict[str, object], fault: str
) -> None:
    schedule = Schedule(concurrency=1, warmup=5)
    result = summarize(workload(prompt_tokens=5, requests=9), schedule, [Asked(1)], outcome(*timings, **fields))
    assert result.load.fault == fault
