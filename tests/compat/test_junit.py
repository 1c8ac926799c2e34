"""--junit-xml: the same properties and the same failure, whether a worker or this process ran the test."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs


def test_each_case_has_its_properties_once_and_the_broken_one_its_table(
    runs: Runs, pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    runs(
        """
        @pytest.mark.memory_budget(peak="2 GiB")
        def test_inside(llm_client):
            llm_client.generate("x", max_tokens=2)

        @pytest.mark.memory_budget(peak="1 MiB")
        def test_beyond(llm_client):
            llm_client.generate("x", max_tokens=2)
        """,
        "--junit-xml=out.xml",
        "--show-capture=no",
        *workers,
    )
    cases = {case.get("name"): case for case in ElementTree.parse(pytester.path / "out.xml").iter("testcase")}
    for name, verdict in {"test_inside": "PASS", "test_beyond": "FAIL"}.items():
        assert [(p.get("name"), p.get("value")) for p in cases[name].iter("property")].count(
            ("llmperf.memory.peak.verdict", verdict)
        ) == 1
    failure = cases["test_beyond"].find("failure")
    assert failure is not None
    message = failure.get("message", "")
    assert message.startswith("BudgetExceeded: memory.peak ")
    assert len(message.splitlines()) == 1
    assert "largest sample of the engine's memory" in (failure.text or "")
    assert cases["test_inside"].find("failure") is None
