from __future__ import annotations

import pytest

from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.engines.registry import create, engine_class


@pytest.mark.parametrize("name", ["llamacpp", "ollama", "openai", "simulated"])
def test_an_engine_is_found_by_its_name(name: str) -> None:
    assert engine_class(name).name == name


def test_an_unknown_engine_is_refused_with_the_known_ones() -> None:
    with pytest.raises(EngineError, match="unknown engine 'gpt': it is one of llamacpp, ollama, openai, simulated"):
        engine_class("gpt")


def test_a_spec_is_checked_before_the_engine_is_made() -> None:
    with pytest.raises(EngineError, match="openai attaches to a running server"):
        create(EngineSpec("openai"))


def test_an_engine_is_made_without_being_started() -> None:
    engine = create(EngineSpec("simulated"))
    assert engine.pids == ()
    assert engine.read_status().reason == "simulated was stopped"


def test_a_spec_is_known_by_what_makes_a_different_server() -> None:
    one = EngineSpec("simulated", args={"a": "1", "b": "2"})
    assert one.key == EngineSpec("simulated", args={"b": "2", "a": "1"}).key
    assert one.key != EngineSpec("simulated", args={"a": "1"}).key
    assert one.key != EngineSpec("simulated", model="m", args=one.args).key


def test_a_label_names_the_model_where_one_was_asked_for() -> None:
    assert EngineSpec("llamacpp").label == "llamacpp"
    assert EngineSpec("llamacpp", model="x.gguf").label == "llamacpp:x.gguf"


def test_an_engine_that_cannot_unload_says_what_to_do_instead() -> None:
    with pytest.raises(EngineError, match=r"openai cannot unload its model .* llm_engine\.restart\(\)"):
        create(EngineSpec("openai", url="http://localhost:1/v1")).unload()
