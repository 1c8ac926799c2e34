"""pytest --markers and --fixtures tell what the plugin brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.metrics.table import GROUPS, list_keys
from pytest_llmperf.plugin.markers.marks import BUDGET_MARKERS

if TYPE_CHECKING:
    from tests.conftest import Runs


def test_markers_name_every_key_that_may_be_limited(runs: Runs) -> None:
    output = runs.plain("", "--markers").stdout.str()
    lines = {line.split("(")[0]: line for line in output.splitlines() if line.startswith("@pytest.mark.")}
    assert {"@pytest.mark.llm_engines", "@pytest.mark.llm_cache"} <= lines.keys()
    for group in GROUPS:
        text = lines[f"@pytest.mark.{group}_budget"]
        assert "device=GLOB" in text
        for key in list_keys(group):
            assert key in text


def test_there_is_a_marker_for_every_group_of_metrics() -> None:
    assert tuple(f"{group}_budget" for group in GROUPS) == BUDGET_MARKERS


def test_a_marker_says_which_of_its_limits_are_lower_ones(runs: Runs) -> None:
    lines = runs.plain("", "--markers").stdout
    lines.fnmatch_lines(["*memory_budget(*): upper limits, for offload a lower one, such as peak='16 GiB', *"])
    lines.fnmatch_lines(["*throughput_budget(*): lower limits, such as output='800 tok/s', requests='10 req/s', *"])
    lines.fnmatch_lines(["*latency_budget(*): upper limits, such as ttft_p95='300 ms' (NN is a percentile; *)."])


def test_fixtures_are_listed_with_what_they_give(runs: Runs) -> None:
    result = runs.plain("", "--fixtures")
    result.stdout.fnmatch_lines_random(
        [
            "llm_engine_args [[]session scope] -- *",
            "llm_engine [[]session scope] -- *",
            "llm_engine_factory [[]session scope] -- *",
            "llm_base_url [[]session scope] -- *",
            "llm_client -- *",
            "llm_perf -- *",
        ]
    )


def test_strict_markers_know_them(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.memory_budget(peak="2 GiB")
        @pytest.mark.throughput_budget(output="0.1 tok/s")
        @pytest.mark.latency_budget(e2e_max="1 min")
        @pytest.mark.energy_budget(total="1 J")
        @pytest.mark.llm_engines("simulated")
        @pytest.mark.llm_cache("warm")
        def test_all(llm_client):
            llm_client.generate("x", max_tokens=4)
        """,
        "--strict-markers",
    )
    result.assert_outcomes(passed=1)
