"""pytest-html: the page shows the table of a broken budget."""

from __future__ import annotations

from html import unescape
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs

pytest.importorskip("pytest_html")


def test_the_page_shows_the_table(runs: Runs, pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    result = runs(
        """
        @pytest.mark.memory_budget(peak="1 MiB")
        def test_over(llm_client):
            llm_client.generate("x", max_tokens=2)
        """,
        "--html=out.html",
        "--self-contained-html",
        *workers,
    )
    result.assert_outcomes(failed=1)
    page = unescape(unescape((pytester.path / "out.html").read_text(encoding="utf-8")))
    assert "memory.peak" in page
    assert "largest sample of the engine's memory during the test" in page.replace("\\u0027", "'")
