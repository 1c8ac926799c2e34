"""Streams written out by hand, against the definitions of the latency metrics."""

from __future__ import annotations

import pytest

from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.metrics.metric import DistributionMetric
from pytest_llmperf.metrics.table import METRICS
from tests.helpers.streams import MS, stream, whole

EVERY_KEY = ("ttft", "ttft_answer", "tpot", "itl", "chunk_gap", "e2e")


def values(request: RequestTiming, key: str) -> list[float]:
    metric = METRICS[f"latency.{key}"]
    assert isinstance(metric, DistributionMetric)
    return list(metric.values_of(request))


def samples(requests: list[RequestTiming], key: str) -> list[float]:
    return [value for request in requests for value in values(request, key)]


def test_an_answer_that_was_not_streamed_has_an_end_and_nothing_else() -> None:
    request = whole(10, 310, output_tokens=20)
    assert request.e2e == 0.3
    assert [key for key in EVERY_KEY if values(request, key)] == ["e2e"]


@pytest.mark.parametrize("tokens", [0, 1, 2, None])
@pytest.mark.parametrize("streamed", [True, False])
def test_an_answer_without_chunks_is_not_a_crash(tokens: int | None, streamed: bool) -> None:
    request = RequestTiming(0, 5 * MS, output_tokens=tokens, streamed=streamed)
    assert [key for key in EVERY_KEY if values(request, key)] == ([] if streamed else ["e2e"])


def test_a_failed_request_gives_no_value_whatever_arrived_of_it() -> None:
    request = stream(100, 120, output_tokens=2, error="the connection was cut")
    assert all(values(request, key) == [] for key in EVERY_KEY)


def test_samples_are_pooled_over_requests() -> None:
    requests = [
        stream(100, 120, output_tokens=2),
        stream(900, output_tokens=1, error="HTTP 500"),
        stream(300, 310, 330, sent_ms=200, output_tokens=3),
    ]
    assert samples(requests, "ttft") == [0.1, 0.1]
    assert samples(requests, "itl") == [0.02, 0.01, 0.02]
    assert samples(requests, "tpot") == [0.02, 0.015]
    assert samples(requests, "e2e") == [0.12, 0.13]
