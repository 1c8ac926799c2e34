"""Which path is answered in the form of which API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.simulated.api.chat import ChatApi
from pytest_llmperf.engines.simulated.api.completions import CompletionsApi
from pytest_llmperf.engines.simulated.api.messages import MessagesApi
from pytest_llmperf.engines.simulated.api.pooling import read_embeddings, read_ranking, read_scores
from pytest_llmperf.engines.simulated.api.responses import ResponsesApi

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_llmperf.engines.simulated.api.pooling import PoolingAsk
    from pytest_llmperf.engines.simulated.api.request import Api
    from pytest_llmperf.engines.simulated.model.settings import Simulation

_MESSAGES, _RESPONSES = MessagesApi(), ResponsesApi()

GENERATION: Mapping[str, Api] = {
    "/v1/chat/completions": ChatApi(),
    "/v1/completions": CompletionsApi(),
    "/v1/responses": _RESPONSES,
    "/v1/messages": _MESSAGES,
}
POOLING: Mapping[str, Callable[[Mapping[str, Any], Simulation], PoolingAsk]] = {
    "/v1/embeddings": read_embeddings,
    "/v1/rerank": read_ranking,
    "/v2/rerank": read_ranking,
    "/rerank": read_ranking,
    "/v1/score": read_scores,
    "/score": read_scores,
}


def _count_for_messages(asked: Mapping[str, Any], simulation: Simulation) -> dict[str, Any]:
    return {"input_tokens": _MESSAGES.read_prompt(asked, simulation).prompt_tokens}


def _count_for_responses(asked: Mapping[str, Any], simulation: Simulation) -> dict[str, Any]:
    tokens = _RESPONSES.read(asked, simulation).prompt_tokens
    return {"object": "response.input_tokens", "input_tokens": tokens}


# These count the tokens of a prompt, at once and without a slot.
COUNTING: Mapping[str, Callable[[Mapping[str, Any], Simulation], dict[str, Any]]] = {
    "/v1/messages/count_tokens": _count_for_messages,
    "/v1/responses/input_tokens": _count_for_responses,
}
