"""The ``vllm`` engine: a server that is started here, one that already runs, or vLLM inside pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.engine import Engine, EngineParts
from pytest_llmperf.engines.lifecycle.attached_deployment import AttachedDeployment
from pytest_llmperf.engines.vllm.arguments import MODE
from pytest_llmperf.engines.vllm.dialect import DIALECT
from pytest_llmperf.engines.vllm.insight import VLLMInsight, VLLMServerInsight
from pytest_llmperf.engines.vllm.server import VLLMServer, read_version

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.spec import EngineSpec


class VLLMEngine(Engine):
    """A model behind vLLM's OpenAI API; with the argument ``mode=offline`` it is a ``vllm.LLM`` inside pytest."""

    name = "vllm"

    @classmethod
    def check(cls, spec: EngineSpec) -> None:
        if MODE in spec.args:
            from pytest_llmperf.engines.vllm.offline.deployment import InProcessVLLM

            InProcessVLLM.check(spec)
        else:
            (AttachedDeployment if spec.url else VLLMServer).check(spec)

    @classmethod
    def compose(cls, spec: EngineSpec) -> EngineParts:
        if MODE in spec.args:
            # Imported when it is asked for: a server that was kept is found again sooner without it.
            from pytest_llmperf.engines.vllm.offline.deployment import compose

            return compose(spec)
        if spec.url:
            attached = AttachedDeployment(spec, read_version)
            return EngineParts(attached, DIALECT, VLLMInsight(attached))
        server = VLLMServer(spec)
        return EngineParts(server, DIALECT, VLLMServerInsight(server))
