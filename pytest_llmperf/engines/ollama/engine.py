"""The ``ollama`` engine: one model of an Ollama server that is started here, or runs already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.engine import Engine, EngineParts
from pytest_llmperf.engines.ollama.deployment import OllamaDeployment
from pytest_llmperf.engines.ollama.insight import OllamaInsight
from pytest_llmperf.engines.ollama.requests import AGAINST_REPEATS, NONCE, NONCE_EXAMPLE, prefix_group, prefix_settings
from pytest_llmperf.traffic.client.dialect import Dialect

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.spec import EngineSpec


class OllamaEngine(Engine):
    """A model by its name, or a GGUF file; without one, the bundled SmolLM2-135M-Instruct."""

    name = "ollama"

    @classmethod
    def check(cls, spec: EngineSpec) -> None:
        OllamaDeployment.check(spec)

    @classmethod
    def compose(cls, spec: EngineSpec) -> EngineParts:
        deployment = OllamaDeployment(spec)
        dialect = Dialect(
            full_length=AGAINST_REPEATS,
            prefix_settings=prefix_settings,
            prefix_group=prefix_group,
            before_prompts=NONCE_EXAMPLE,
            count_tokens=lambda endpoint, text: len(deployment.list_tokens(endpoint, text)),
            list_tokens=deployment.list_tokens,
            # Contexts are compared as they are, without the nonce of other prompts.
            likely_tokens={"logprobs": True, "top_logprobs": 20, NONCE: ""},
            # A model with an adapter is another model there.
            adapter_fields=None,
            api=deployment.api,
        )
        return EngineParts(deployment, dialect, OllamaInsight(deployment))
