"""What engines do for loads: count tokens, answer in full length, share a prefix within a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.llamacpp.engine import AttachedLlamaCppEngine
from pytest_llmperf.engines.openai.engine import OpenAIEngine
from pytest_llmperf.engines.simulated.engine import SimulatedEngine
from pytest_llmperf.engines.vllm.server import AttachedVLLMEngine
from pytest_llmperf.traffic.client.dialect import Endpoint
from tests.helpers.scripted_server import ScriptedServer, sized

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.engines.api.engine import Engine


def tokenizer(kind: type[Engine], url: str) -> Callable[[str], int] | None:
    return kind.dialect.tokenizer(Endpoint(url, "tiny"))


def test_vllm_is_asked_for_the_tokens_of_a_text() -> None:
    with ScriptedServer([[sized({"count": 7, "tokens": [1] * 7})]]) as server:
        count = tokenizer(AttachedVLLMEngine, server.url)
        assert count is not None
        assert count("some text") == 7
    assert server.requests[0].head.startswith("POST /tokenize ")
    assert server.requests[0].body == {"model": "tiny", "prompt": "some text"}


def test_llamacpp_is_asked_for_the_tokens_of_a_text_with_those_that_begin_it() -> None:
    with ScriptedServer([[sized({"tokens": [1, 15, 22]})]]) as server:
        count = tokenizer(AttachedLlamaCppEngine, server.url)
        assert count is not None
        assert count("some text") == 3
    assert server.requests[0].head.startswith("POST /tokenize ")
    assert server.requests[0].body == {"content": "some text", "add_special": True}


def test_a_token_of_the_simulated_engine_is_a_word() -> None:
    count = tokenizer(SimulatedEngine, "")
    assert count is not None
    assert count("three little words") == 3


def test_of_any_other_server_nobody_knows_the_tokens() -> None:
    assert tokenizer(OpenAIEngine, "http://127.0.0.1:1/v1") is None


def test_on_vllm_a_group_shares_its_prefix_under_a_salt_of_its_own() -> None:
    assert AttachedVLLMEngine.dialect.prefix_group("run 1") == {"cache_salt": "run 1"}
    assert AttachedLlamaCppEngine.dialect.prefix_group("run 1") == {}


@pytest.mark.parametrize("kind", [AttachedVLLMEngine, AttachedLlamaCppEngine])
def test_answers_are_as_long_as_asked_where_the_engine_can_be_told(kind: type[Engine]) -> None:
    assert kind.dialect.full_length == {"ignore_eos": True}
    assert OpenAIEngine.dialect.full_length == {}
