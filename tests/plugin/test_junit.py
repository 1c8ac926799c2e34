"""--junit-xml: budgets as properties, a broken one as a failure with the table."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs


def test_it_carries_properties_for_all_and_the_table_for_the_broken(runs: Runs, pytester: pytest.Pytester) -> None:
    runs(
        """
        @pytest.mark.memory_budget(peak="2 GiB")
        @pytest.mark.latency_budget(ttft_p95="1 s")
        def test_inside(llm_client, record_property):
            record_property("mine", 1)
            llm_client.generate("x", max_tokens=2)

        @pytest.mark.memory_budget(peak="1 MiB")
        def test_beyond(llm_client):
            llm_client.generate("x", max_tokens=2)
        """,
        "--junit-xml=out.xml",
        "-o",
        "junit_family=xunit1",
    )
    cases = {case.get("name"): case for case in ElementTree.parse(pytester.path / "out.xml").iter("testcase")}
    inside = {p.get("name"): p.get("value", "") for p in cases["test_inside"].iter("property")}
    assert inside["mine"] == "1"
    assert inside["llmperf.engine"] == "simulated 1"
    assert inside["llmperf.memory.peak"].endswith(" B")
    assert inside["llmperf.memory.peak.limit"] == f"{2 * 2**30} B"
    assert inside["llmperf.memory.peak.verdict"] == "PASS"
    assert inside["llmperf.latency.ttft_p95.verdict"] == "NOT MEASURED"
    assert cases["test_inside"].find("failure") is None
    failure = cases["test_beyond"].find("failure")
    assert failure is not None
    assert failure.get("message", "").splitlines()[0].startswith("BudgetExceeded: memory.peak ")
    assert "memory.peak" in (failure.text or "")
    assert "verdict" in (failure.text or "")
