"""What a workload of a file sends, read without an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.workloads.texts import Texts

if TYPE_CHECKING:
    from pytest_llmperf.traffic.workloads.workload import Script, Workload


def words(text: str) -> int:
    return len(text.split())


def scripts(load: Workload) -> list[Script]:
    return list(load.generate_scripts(Texts(words) if load.needs_texts else None))


def prompts(load: Workload) -> list[Any]:
    return [script.turns[0].content for script in scripts(load)]


def outputs(load: Workload) -> list[int]:
    return [script.turns[0].output_tokens for script in scripts(load)]


def times(load: Workload) -> list[float | None]:
    return [script.at_s for script in scripts(load)]
