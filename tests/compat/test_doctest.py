"""doctest: examples in docstrings may have budgets from llmperf.toml, and say that they used no engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs

SOURCE = '''
def double(number):
    """
    >>> double(2)
    4
    """
    return 2 * number
'''


@pytest.mark.parametrize(("options", "failed"), [(("--llmperf-no-strict",), 0), (("--llmperf-strict",), 1)])
def test_a_doctest_without_a_verdict_is_judged_like_a_test(
    runs: Runs, pytester: pytest.Pytester, options: tuple[str, ...], failed: int
) -> None:
    (pytester.path / "llmperf.toml").write_text(
        '[[budget]]\ntests = "*double"\nmemory.peak = "1 MiB"\n', encoding="utf-8"
    )
    result = runs(SOURCE, "--doctest-modules", "--llmperf-rounds=3", *options)
    result.assert_outcomes(passed=1 - failed, failed=failed)
    result.stdout.fnmatch_lines(["budgets: 1 NOT MEASURED"])
    if failed:
        result.stdout.fnmatch_lines(["*- llmperf -*", "memory.peak * NOT MEASURED"])


def test_a_worker_judges_it_too(runs: Runs, pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    (pytester.path / "llmperf.toml").write_text(
        '[[budget]]\ntests = "*double"\nmemory.peak = "1 MiB"\n', encoding="utf-8"
    )
    result = runs(SOURCE, "--doctest-modules", "-n1", "--llmperf-strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["memory.peak * NOT MEASURED"])
