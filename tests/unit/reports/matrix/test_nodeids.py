"""Test ids without their engine: reports/matrix/nodeids.py."""

from __future__ import annotations

import pytest

from pytest_llmperf.reports.matrix.nodeids import strip_engine


@pytest.mark.parametrize(
    ("nodeid", "label", "left"),
    [
        ("t.py::test[old]", "old", "t.py::test"),
        ("t.py::test[old-short]", "old", "t.py::test[short]"),
        ("t.py::test[short-old]", "old", "t.py::test[short]"),
        ("t.py::test[a-old-b]", "old", "t.py::test[a-b]"),
        ("t.py::test[old-old]", "old", "t.py::test[old]"),
        ("t.py::test[older-old]", "old", "t.py::test[older]"),
        ("t.py::test[q4-km-x]", "q4-km", "t.py::test[x]"),
        ("t.py::Test[x]::test[vllm:Qwen/Qwen3-0.6B-x]", "vllm:Qwen/Qwen3-0.6B", "t.py::Test[x]::test[x]"),
        ("t.py::test[openai:m[1]-x]", "openai:m[1]", "t.py::test[x]"),
        ("t.py::test[ollama:mod\\xe8le-x]", "ollama:modèle", "t.py::test[x]"),
        ("t.py::test[old-x]@group", "old", "t.py::test[x]@group"),
        ("old-x.py::test", "old", "old-x.py::test"),
        ("t.py::test[golden]", "old", "t.py::test[golden]"),
        ("t.py::test[x]", "", "t.py::test[x]"),
    ],
)
def test_only_the_part_that_names_the_engine_is_left_out(nodeid: str, label: str, left: str) -> None:
    assert strip_engine(nodeid, label) == left
