"""The adapters that servers list, in either way, and pages that list none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_llmperf.engines.attached.adapters import list_model_adapters, list_numbered_adapters
from tests.helpers.metrics_server import serving


def listed(content: object) -> tuple[dict[str, str], dict[str, str]]:
    """What is read of a server that answers so, as models and as numbers."""
    body = content if isinstance(content, str) else json.dumps(content)
    with serving(lambda: body) as server:
        return list_model_adapters(f"{server.url}/v1"), list_numbered_adapters(server.url)


def test_a_model_with_a_parent_is_an_adapter() -> None:
    models: list[dict[str, Any]] = [{"id": "tiny", "parent": None}, {"id": "lora-a", "parent": "tiny"}, {"id": "other"}]
    assert listed({"data": models})[0] == {"lora-a": "lora-a"}


def test_an_adapter_with_a_number_has_the_name_of_its_file() -> None:
    files = ["/x/one.gguf", "two", "/y/one.gguf"]
    found = listed([{"id": number, "path": path, "scale": 1.0} for number, path in enumerate(files)])[1]
    assert found == {"#0": "one#0", "#1": "two", "#2": "one#2"}


@pytest.mark.parametrize(
    "content", ["no", {}, [], {"data": None}, {"data": ["x"]}, [{"id": "x"}], {"data": [{}]}, "[["]
)
def test_whatever_else_a_server_answers_lists_none(content: object) -> None:
    assert listed(content) == ({}, {})


def test_a_server_that_is_gone_lists_none() -> None:
    assert list_model_adapters("http://127.0.0.1:1/v1") == list_numbered_adapters("http://127.0.0.1:1") == {}
