"""What dialects do for loads: count tokens, answer in full length, share a prefix within a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.api.spec import EngineSpec
from pytest_llmperf.engines.llamacpp import engine as llamacpp
from pytest_llmperf.engines.openai import engine as openai
from pytest_llmperf.engines.simulated import engine as simulated
from pytest_llmperf.engines.vllm import dialect as vllm
from pytest_llmperf.traffic.client.dialect import OPENAI, Dialect, Endpoint
from pytest_llmperf.traffic.workloads.tokenizer import create_texts
from pytest_llmperf.traffic.workloads.workload import workload
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


@pytest.mark.parametrize(
    "dialect", [openai.DIALECT, vllm.DIALECT, llamacpp.DIALECT], ids=["openai", "vllm", "llamacpp"]
)
def test_the_tokenizer_of_a_server_with_a_key_is_asked_with_it(dialect: Dialect) -> None:
    with ScriptedServer([[sized({"tokens": [5, 6]})]]) as server:
        assert dialect.list_tokens is not None
        assert dialect.list_tokens(Endpoint(server.url, "tiny", "secret"), "some text") == [5, 6]
    assert "\r\nauthorization: bearer secret" in server.requests[0].head.lower()


def test_any_server_with_a_tokenizer_is_asked_as_vllm_and_as_llamacpp() -> None:
    with ScriptedServer([[sized({"tokens": [5, 6]})]]) as server:
        count = tokenizer(openai.DIALECT, server.url)
        assert count is not None
        assert count("some text") == 2
    asked = {"model": "tiny", "prompt": "some text", "content": "some text", "add_special": True}
    assert server.requests[0].body == asked


@pytest.mark.parametrize("answer", [sized({"detail": "Not Found"}, "404 Not Found"), sized({"ids": [1]}), sized([])])
def test_a_server_without_one_leaves_its_tokens_unknown(answer: bytes) -> None:
    with ScriptedServer([[answer]]) as server:
        count = tokenizer(openai.DIALECT, server.url)
        assert count is not None
        with pytest.raises(ValueError, match=r"could not count the tokens of a text \(.*\): give workload\(tokenizer"):
            create_texts(workload(prompt_tokens=4, requests=1), count)


def test_what_an_engine_puts_before_a_prompt_counts_unless_the_prompt_may_be_shared() -> None:
    dialect = Dialect(before_prompts="[1] ", count_tokens=lambda _, text: len(text.split()))
    fresh, shared = (tokenizer(dialect, "", shared=shared) for shared in (False, True))
    assert fresh is not None
    assert shared is not None
    assert (fresh("two words"), shared("two words")) == (3, 2)


def test_without_a_tokenizer_the_tokens_are_not_known() -> None:
    assert tokenizer(OPENAI, "http://127.0.0.1:1/v1") is None


def test_on_vllm_a_group_shares_its_prefix_under_a_salt_of_its_own() -> None:
    assert vllm.DIALECT.prefix_group("run 1") == {"cache_salt": "run 1"}
    assert llamacpp.DIALECT.prefix_group("run 1") == {}


@pytest.mark.parametrize("dialect", [vllm.DIALECT, llamacpp.DIALECT], ids=["vllm", "llamacpp"])
def test_answers_are_as_long_as_asked_where_the_engine_can_be_told(dialect: Dialect) -> None:
    assert dialect.full_length == {"ignore_eos": True}
    assert OPENAI.full_length == {}
