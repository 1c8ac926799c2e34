"""The facts of a run that only the HTML report shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.plugin.page.facts import describe_command

if TYPE_CHECKING:
    import pytest


def test_options_of_the_environment_are_kept_without_outputs_and_secrets(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--llm-engine='vllm:a b' --llmperf-report=x.html --llm-api-key=k -k words")
    assert describe_command(pytestconfig)["added_options"] == ["--llm-engine=vllm:a b", "--llm-api-key=***"]
    monkeypatch.delenv("PYTEST_ADDOPTS")
    assert describe_command(pytestconfig)["added_options"] == []
