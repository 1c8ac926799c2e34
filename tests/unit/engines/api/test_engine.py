"""What an engine says of itself once it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.api.model_facts import ModelFacts
from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from tests.helpers.fake_engine import FakeEngine

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.engine import Engine


def start(monkeypatch: pytest.MonkeyPatch, *answers: ModelFacts | Exception) -> Engine:
    """A fake engine whose model facts are these, start by start; it has started once."""
    engine = FakeEngine(EngineSpec("fake", "m", args={"ctx": "1", "api_key": "sk-1"}))
    left = list(answers)

    def read() -> ModelFacts:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(engine.deployment, "read_model_facts", read)
    engine.start()
    return engine


def test_its_info_says_which_model_runs_and_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    info = start(monkeypatch, ModelFacts("ab12", "Q4_1")).info
    assert (info.digest, info.quantisation, info.arguments) == ("ab12", "Q4_1", (("ctx", "1"),))


@pytest.mark.parametrize(
    "error", [EngineError("no answer"), OSError("gone"), ValueError("no JSON"), KeyError("models"), TypeError("list")]
)
def test_a_model_that_cannot_be_told_is_unknown_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    info = start(monkeypatch, error).info
    assert (info.digest, info.quantisation) == ("", "")


def test_each_start_tells_the_model_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = start(monkeypatch, ModelFacts("ab12", "Q4_1"), OSError("gone"), ModelFacts("cd34"))
    engine.restart()
    assert engine.info.digest == ""
    engine.restart()
    assert engine.info.digest == "cd34"
