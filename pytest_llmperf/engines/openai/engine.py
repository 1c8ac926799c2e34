"""The ``openai`` engine: any OpenAI-compatible server that already runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.engine import Engine, EngineParts
from pytest_llmperf.engines.attached.insight import AttachedInsight
from pytest_llmperf.engines.lifecycle.attached_deployment import AttachedDeployment
from pytest_llmperf.traffic.client.dialect import OPENAI

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.spec import EngineSpec


class OpenAIEngine(Engine):
    """Attached by ``--llmperf-url``; says nothing of itself."""

    name = "openai"

    @classmethod
    def check(cls, spec: EngineSpec) -> None:
        AttachedDeployment.check(spec)

    @classmethod
    def compose(cls, spec: EngineSpec) -> EngineParts:
        attached = AttachedDeployment(spec)
        return EngineParts(attached, OPENAI, AttachedInsight(attached))
