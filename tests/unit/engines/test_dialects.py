"""What dialects do for loads: count tokens, answer in full length, share a prefix within a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.api.spec import EngineSpec
from pytest_llmperf.engines.llamacpp import engine as llamacpp
from pytest_llmperf.engines.simulated import engine as simulated
from pytest_llmperf.engines.vllm import dialect as vllm
from pytest_llmperf.traffic.client.dialect import OPENAI, Dialect, Endpoint
from tests.helpers.scripted_server import ScriptedServer, sized

if TYPE_CHECKING:
    from collections.abc import Callable


def tokenizer(dialect: Dialect, url: str, *, shared: bool = False) -> Callable[[str], int] | None:
    return dialect.create_counter(Endpoint(url, "tiny"), shared=shared)


def test_vllm_is_asked_for_the_tokens_of_a_text() -> None:
    with ScriptedServer([[sized({"count": 7, "tokens": [1] * 7})]]) as server:
        count = tokenizer(vllm.DIALECT, server.url)
        assert count is not None
        assert count("some text") == 7
    assert server.requests[0].head.startswith("POST /tokenize ")
    assert server.requests[0].body == {"model": "tiny", "prompt": "some text"}


def test_llamacpp_is_asked_for_the_tokens_of_a_text_with_those_that_begin_it() -> None:
    with ScriptedServer([[sized({"tokens": [1, 15, 22]})]]) as server:
        count = tokenizer(llamacpp.DIALECT, server.url)
        assert count is not None
        assert count("some text") == 3
    assert server.requests[0].head.startswith("POST /tokenize ")
    assert server.requests[0].body == {"content": "some text", "add_special": True}


def test_a_token_of_the_simulated_engine_is_a_word() -> None:
    count = tokenizer(simulated.SimulatedEngine.compose(EngineSpec("simulated")).dialect, "")
    assert count is not None
    assert count("three little words") == 3


def test_what_an_engine_puts_before_a_prompt_counts_unless_the_prompt_may_be_shared() -> None:
    dialect = Dialect(before_prompts="[1] ", count_tokens=lambda _, text: len(text.split()))
    fresh, shared = (tokenizer(dialect, "", shared=shared) for shared in (False, True))
    assert fresh is not None
    assert shared is not None
    assert (fresh("two words"), shared("two words")) == (3, 2)


def test_of_any_other_server_nobody_knows_the_tokens() -> None:
    assert tokenizer(OPENAI, "http://127.0.0.1:1/v1") is None


def test_on_vllm_a_group_shares_its_prefix_under_a_salt_of_its_own() -> None:
    assert vllm.DIALECT.prefix_group("run 1") == {"cache_salt": "run 1"}
    assert llamacpp.DIALECT.prefix_group("run 1") == {}


@pytest.mark.parametrize("dialect", [vllm.DIALECT, llamacpp.DIALECT], ids=["vllm", "llamacpp"])
def test_answers_are_as_long_as_asked_where_the_engine_can_be_told(dialect: Dialect) -> None:
    assert dialect.full_length == {"ignore_eos": True}
    assert OPENAI.full_length == {}
