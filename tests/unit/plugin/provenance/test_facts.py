"""What is recorded of a run beside its numbers."""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING

import jsonschema
import pytest

from pytest_llmperf.plugin.provenance import facts
from pytest_llmperf.plugin.provenance.facts import describe_provenance
from pytest_llmperf.reports.json_report import read_schema

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = {"commit": "1" * 40, "branch": None, "dirty": True}


def test_the_facts_are_plain_data_that_the_schema_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "read_commit", lambda _: COMMIT)
    monkeypatch.setattr(facts, "read_driver_versions", lambda: ("580.95.05", "13.0"))
    arguments = ["-q", "--llmperf-engine-arg=api_key=sk-1"]
    described = describe_provenance(1_800_000_000.9, arguments, tmp_path)
    assert described == {
        "started": "2027-01-15T08:00:00Z",
        "command_line": ["pytest", "-q", "--llmperf-engine-arg=api_key=***"],
        "host": platform.node(),
        "kernel": platform.release(),
        "driver": "580.95.05",
        "cuda": "13.0",
        "git": COMMIT,
    }
    assert json.loads(json.dumps(described)) == described
    session = read_schema()["properties"]["session"]
    assert described.keys() <= session["properties"].keys()
    jsonschema.validate(described, session)


@pytest.mark.parametrize(
    "wrong", [{"git": {"commit": "1" * 40}}, {"driver": 580}, {"command_line": "pytest"}, {"started": "yesterday"}]
)
def test_the_schema_refuses_facts_of_another_shape(wrong: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, read_schema()["properties"]["session"])
