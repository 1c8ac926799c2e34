"""The ``llamacpp`` engine: llama.cpp's own server, started here or already running."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.api.engine import Engine, EngineParts
from pytest_llmperf.engines.attached.adapters import list_numbered_adapters
from pytest_llmperf.engines.attached.insight import AttachedInsight
from pytest_llmperf.engines.lifecycle.attached_deployment import AttachedDeployment
from pytest_llmperf.engines.lifecycle.http import http_post, parse_tokens
from pytest_llmperf.engines.llamacpp.insight import LlamaCppInsight
from pytest_llmperf.engines.llamacpp.room import check_room
from pytest_llmperf.engines.llamacpp.server import LlamaCppServer, read_stated_facts, read_version
from pytest_llmperf.traffic.client.dialect import Dialect

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.spec import EngineSpec
    from pytest_llmperf.traffic.client.dialect import Endpoint


def _list_tokens(endpoint: Endpoint, text: str) -> list[int]:
    asked = {"content": text, "add_special": True}
    answer = http_post(f"{endpoint.root}/tokenize", asked, api_key=endpoint.api_key)
    return parse_tokens(answer)


def _name_adapter(endpoint: Endpoint, adapter: str) -> dict[str, Any]:
    """The scales of all adapters in a request: without them the server applies every one that it has."""
    if not adapter:
        return {"lora": []}
    listed = list_numbered_adapters(endpoint.root, endpoint.api_key)
    numbers = {name: int(number[1:]) for number, name in listed.items()}
    if adapter not in numbers:
        known = ", ".join(numbers) or "none"
        raise ValueError(f"adapters has {adapter!r}, and llamacpp has {known}: start it with lora=")
    return {"lora": [{"id": numbers[adapter], "scale": 1.0}]}


DIALECT = Dialect(
    # With timings per token each chunk says how many tokens it brings.
    defaults={"timings_per_token": True},
    full_length={"ignore_eos": True},
    # A prompt that was answered before would come from the cache, with a TTFT ten times too good.
    prefix_settings=lambda share: {"cache_prompt": share},
    obeyed=frozenset({"cache_prompt"}),
    count_tokens=lambda endpoint, text: len(_list_tokens(endpoint, text)),
    list_tokens=_list_tokens,
    check_room=check_room,
    adapter_fields=_name_adapter,
    # The server gives one of its few threads to each connection, idle or not.
    keeps_connections=False,
)


class LlamaCppEngine(Engine):
    """A GGUF file behind llama.cpp's HTTP API; without a model, the bundled SmolLM2-135M-Instruct."""

    name = "llamacpp"

    @classmethod
    def check(cls, spec: EngineSpec) -> None:
        (AttachedDeployment if spec.url else LlamaCppServer).check(spec)

    @classmethod
    def compose(cls, spec: EngineSpec) -> EngineParts:
        if spec.url:
            attached = AttachedDeployment(spec, read_version, read_stated_facts)
            return EngineParts(attached, DIALECT, AttachedInsight(attached))
        server = LlamaCppServer(spec)
        return EngineParts(server, DIALECT, LlamaCppInsight(server))
