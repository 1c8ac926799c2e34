"""pytest-reportlog: a line of it holds the whole result of a measured test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs

pytest.importorskip("pytest_reportlog")


def test_the_line_of_the_call_holds_verdicts_and_readings(
    runs: Runs, pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    result = runs(
        """
        @pytest.mark.memory_budget(peak="1 MiB")
        def test_over(llm_client):
            llm_client.generate("x", max_tokens=2)
        """,
        *("-p", "pytest_reportlog"),
        "--report-log=out.jsonl",
        *workers,
    )
    result.assert_outcomes(failed=1)
    lines = [json.loads(line) for line in (pytester.path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    [wire] = [line["llmperf"] for line in lines if "llmperf" in line]
    assert wire["verdicts"][0]["status"] == "FAIL"
    assert wire["measurement"]["requests"]["total"] == 1
