"""pytest-html: the page shows what decided the run, the budgets of each test, and the table of a broken one."""

from __future__ import annotations

from html import unescape
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs

pytest.importorskip("pytest_html")

HTML = ("-p", "metadata", "-p", "html", "-p", "html_fixtures")


def test_the_page_shows_the_table(runs: Runs, pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    result = runs(
        """
        @pytest.mark.memory_budget(peak="1 MiB")
        def test_over(llm_client):
            llm_client.generate("x", max_tokens=2)
        """,
        *HTML,
        "--html=out.html",
        "--self-contained-html",
        *workers,
    )
    result.assert_outcomes(failed=1)
    page = unescape(unescape((pytester.path / "out.html").read_text(encoding="utf-8")))
    assert "memory.peak" in page
    assert "<h2>Failed: 1 of 1 budget broken</h2>" in page
    assert "<b class=fail>FAIL</b>" in page
    assert "<title>Memory and requests over time</title>" in page
    assert "largest sample of the engine's memory during the test" in page.replace("\\u0027", "'")


def test_the_page_of_an_interrupted_run_says_so(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(
        """
        @pytest.mark.memory_budget(peak="100 GiB")
        def test_over(llm_client):
            llm_client.generate("x", max_tokens=2)

        def test_stop():
            pytest.exit("enough")
        """,
        *HTML,
        "--html=out.html",
        "--self-contained-html",
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    page = unescape(unescape((pytester.path / "out.html").read_text(encoding="utf-8")))
    assert "<h2>Failed: the run ended early</h2>" in page
    assert ">the run ended early: enough</p>" in page
