"""How many requests Ollama works on, by the slots of its runner."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.ollama.insight import OllamaInsight
from pytest_llmperf.measurement.reading import Missing
from tests.helpers.metrics_server import serving

UNKNOWN = Missing("the runner of the model does not tell its slots")


class Deployment:
    """One whose runner may be another one at each look; an error for one that does not answer."""

    def __init__(self, *slots_urls: str | None) -> None:
        self.looks = 0
        self._slots_urls = slots_urls

    def look(self) -> Any:
        url = self._slots_urls[min(self.looks, len(self._slots_urls) - 1)]
        self.looks += 1
        if url is None:
            raise EngineError("the server does not answer")
        return SimpleNamespace(runner=SimpleNamespace(slots_url=url))


def insight(deployment: Deployment) -> OllamaInsight:
    return OllamaInsight(cast("Any", deployment))


def test_the_runner_is_looked_for_once_and_again_when_it_has_gone() -> None:
    busy = json.dumps([{"is_processing": True}, {"is_processing": False}])
    with serving(lambda: busy) as first, serving(lambda: "[]") as second:
        deployment = Deployment(first.url, second.url)
        seen = insight(deployment)
        assert [seen.count_running() for _ in range(3)] == [1, 1, 1]
        assert deployment.looks == 1
        first.status = 404
        assert seen.count_running() == 0
        assert deployment.looks == 2


def test_what_does_not_tell_has_a_reason() -> None:
    for url in ("", None, "http://127.0.0.1:9/slots"):
        assert insight(Deployment(url)).count_running() == UNKNOWN
