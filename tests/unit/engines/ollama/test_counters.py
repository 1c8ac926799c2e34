"""The counters of a runner, as a real one gave them, and what is made of them."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.ollama.api import OllamaAPI
from pytest_llmperf.engines.ollama.counters import Counts, count_template_tokens
from pytest_llmperf.engines.ollama.runner import Loaded, Runner
from tests.helpers.captured import captured
from tests.helpers.metrics_server import MetricsServer, serving

PAGE = captured("ollama/child_llama_server_metrics.txt")


def loaded(server: MetricsServer) -> Loaded:
    arguments = ("llama-server", "--model", "x", "--port", str(server.server_port))
    return Loaded({"name": "m"}, Runner(1, 1.0, arguments))


def test_a_real_runner_tells_what_was_cached_and_what_was_generated() -> None:
    with serving(lambda: PAGE) as server:
        assert Counts.of(loaded(server)) == Counts(cached=302, generated=20, read=1153)


def test_a_difference_is_what_came_in_between() -> None:
    assert Counts(310, 25, 90).since(Counts(302, 20, 50)) == Counts(8, 5, 40)


def test_the_share_of_prompts_that_came_from_the_cache_is_a_reading() -> None:
    found = Counts(30, 5, 90).read_hit_rate()
    assert (found.value, found.how) == (0.25, "30 of 120 prompt tokens, as ollama's runner counts them")
    assert Counts(0, 0, 0).read_hit_rate().reason == "ollama's runner read no prompt during the test"


@pytest.mark.parametrize("page", ["", "llamacpp:tokens_predicted_total 20\n"])
def test_a_page_without_these_counters_tells_nothing(page: str) -> None:
    with serving(lambda: page) as server:
        assert Counts.of(loaded(server)) is None


def test_a_runner_that_was_not_told_to_count_or_is_not_seen_tells_nothing() -> None:
    with serving(lambda: PAGE) as server:
        server.status = 501
        assert Counts.of(loaded(server)) is None
    assert Counts.of(Loaded({"name": "m"}, None)) is None
    assert Counts.of(None) is None


class Fresh(OllamaAPI):
    """Answers conversations; the first finds nothing in the cache, each later one 25 tokens."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.cached = 302
        self.bodies: list[dict[str, Any]] = []

    def chat(self, body: Any, seconds: float) -> dict[str, Any]:
        self.cached += 25 if self.bodies else 0
        self.bodies.append(body)
        return {}


def test_the_template_is_what_two_fresh_conversations_have_in_common() -> None:
    api = Fresh()
    with serving(lambda: PAGE.replace("cached_total 302", f"cached_total {api.cached}")) as server:
        assert count_template_tokens(api, "m", loaded(server), {"num_ctx": 512}) == 25
    first, second = api.bodies
    assert first["options"] == {"num_ctx": 512, "num_predict": 1}
    assert first["messages"] != second["messages"]


def test_where_nobody_tells_or_answers_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert count_template_tokens(Fresh(), "m", Loaded({"name": "m"}, None), {}) is None
    api = Fresh()

    def refuse(*_: object) -> dict[str, Any]:
        raise EngineError("HTTP 500: no")

    monkeypatch.setattr(api, "chat", refuse)
    with serving(lambda: PAGE) as server:
        assert count_template_tokens(api, "m", loaded(server), {}) is None
