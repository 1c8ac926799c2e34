"""The ``openai`` engine: any OpenAI-compatible server that already runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.engine import Engine, EngineParts
from pytest_llmperf.engines.attached.insight import AttachedInsight
from pytest_llmperf.engines.lifecycle.attached_deployment import AttachedDeployment
from pytest_llmperf.engines.lifecycle.http import http_post, parse_tokens
from pytest_llmperf.traffic.client.dialect import Dialect

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.spec import EngineSpec
    from pytest_llmperf.traffic.client.dialect import Endpoint


def _list_tokens(endpoint: Endpoint, text: str) -> list[int]:
    """The tokens of a text as a server states them that has ``/tokenize``, in the words of vLLM or of llama.cpp."""
    asked = {"model": endpoint.model, "prompt": text, "content": text, "add_special": True}
    return parse_tokens(http_post(f"{endpoint.root}/tokenize", asked, api_key=endpoint.api_key))


DIALECT = Dialect(count_tokens=lambda endpoint, text: len(_list_tokens(endpoint, text)), list_tokens=_list_tokens)


class OpenAIEngine(Engine):
    """Attached by ``--llmperf-url``; says nothing of itself."""

    name = "openai"

    @classmethod
    def check(cls, spec: EngineSpec) -> None:
        AttachedDeployment.check(spec)

    @classmethod
    def compose(cls, spec: EngineSpec) -> EngineParts:
        attached = AttachedDeployment(spec)
        return EngineParts(attached, DIALECT, AttachedInsight(attached))
