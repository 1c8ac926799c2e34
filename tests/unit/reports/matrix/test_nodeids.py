"""Test ids without their engine: reports/matrix/nodeids.py."""

from __future__ import annotations

import pytest

from pytest_llmperf.reports.matrix.nodeids import strip_engine, strip_engines


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
        ("a[old]/t.py::test[old-x]", "old", "a[old]/t.py::test[x]"),
        ("t.py::test[golden]", "old", "t.py::test[golden]"),
        ("t.py::test[x]", "", "t.py::test[x]"),
    ],
)
def test_only_the_part_that_names_the_engine_is_left_out(nodeid: str, label: str, left: str) -> None:
    assert strip_engine(nodeid, label) == left


@pytest.mark.parametrize("where", [0, 1, 2])
@pytest.mark.parametrize("texts", [("old", "y"), ("old", "new"), ("a-old", "old-b"), ("x", "x-old")])
def test_parameters_with_the_text_of_a_label_stay_in_the_ids_of_their_tests(texts: tuple[str, str], where: int) -> None:
    cases = [[first, second] for first in texts for second in texts]
    ids = {
        label: [f"t.py::test[{'-'.join([*case[:where], label, *case[where:]])}]" for case in cases]
        for label in ("old", "new")
    }
    found = strip_engines([(nodeid, label) for label, own in ids.items() for nodeid in own])
    assert found == [f"t.py::test[{'-'.join(case)}]" for case in cases] * 2


def test_tests_are_never_taken_for_one() -> None:
    ids = ["t.py::test[old-a-old]", "t.py::test[a-old-old]", "t.py::test[a-b-c-old-d-e-f]"]
    found = strip_engines([(nodeid, "old") for nodeid in ids])
    assert len(set(found)) == len(ids)
