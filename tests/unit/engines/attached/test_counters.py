from __future__ import annotations

import pytest

from pytest_llmperf.engines.attached.counters import count_answered_tokens, count_generated_tokens, count_requests
from pytest_llmperf.measurement.request import RequestTiming
from tests.helpers.metrics_server import serving


@pytest.mark.parametrize(
    ("page", "tokens"),
    [
        ("llamacpp:tokens_predicted_total 20\n", 20),
        ('vllm:generation_tokens_total{engine="0"} 5\nvllm:generation_tokens_total{engine="1"} 7\n', 12),
        ("http_requests_total 3\n", None),
        ("<html>", None),
    ],
)
def test_the_counters_that_are_known_are_added_up(page: str, tokens: float | None) -> None:
    with serving(lambda: page) as server:
        assert count_generated_tokens(server.url) == tokens


@pytest.mark.parametrize(
    ("page", "requests"),
    [
        ("llamacpp:requests_processing 1\nllamacpp:requests_deferred 2\nllamacpp:tokens_predicted_total 9\n", 3),
        ('vllm:num_requests_running{engine="0"} 1.0\nvllm:num_requests_running{engine="1"} 0.0\n', 1),
        ("sglang:num_running_reqs 0\nsglang:num_queue_reqs 4\n", 4),
        ("tgi_batch_current_size 0\ntgi_queue_size 0\n", 0),
        ("llamacpp:tokens_predicted_total 20\n", None),
    ],
)
def test_requests_that_run_or_wait_are_added_up(page: str, requests: int | None) -> None:
    with serving(lambda: page) as server:
        assert count_requests(server.url) == requests


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/metrics", "http://user:secret@127.0.0.1:9/metrics", "nowhere"])
def test_a_page_that_cannot_be_read_has_none(url: str) -> None:
    assert count_generated_tokens(url) is None


def test_tokens_that_are_not_known_of_every_request_are_not_compared() -> None:
    known, unknown = RequestTiming(0, 1, output_tokens=4), RequestTiming(0, 1)
    assert count_answered_tokens([known, known]) == 8
    assert count_answered_tokens([known, unknown]) is None
    assert count_answered_tokens([known, RequestTiming(0, 1, output_tokens=4, error="cut")]) is None
    assert count_answered_tokens([]) is None
