"""A suggested llmperf.toml can be read, fits what was measured, and says why each limit is what it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.baselines.calibration.history import collect_histories
from pytest_llmperf.baselines.calibration.suggestions import choose_histories, render_budgets
from pytest_llmperf.baselines.rejudging.judge import judge_again
from pytest_llmperf.budgets.config_file import find_limits, read_budget_file
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.parts import label_parts
from tests.helpers.simulated_sessions import make_entry, make_report, measure_session
from tests.helpers.streams import CPU, L4, limits

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_llmperf.budgets.config_file import FileBudget

pytestmark = pytest.mark.once

WEIRD = 'tests/test_it.py::test_a["quoted" \\ é [x]]'
AWKWARD = (WEIRD, "tests/test_chat.py::test_answer", "tests/test_it.py::TestIt::test_b[1-2]")


def suggest(reports: list[dict[str, Any]], path: Path, *, relative: bool = False) -> tuple[FileBudget, ...]:
    text, count = render_budgets(choose_histories(collect_histories(reports)), ["of 10 runs"], relative=relative)
    path.write_text(text, encoding="utf-8")
    budgets = read_budget_file(path).budgets
    assert count == sum(len(budget.limits) for budget in budgets)
    return budgets


@pytest.mark.parametrize("nodeid", AWKWARD)
@pytest.mark.parametrize("asked", [(), limits("latency", e2e_p50="1 s")], ids=["no budgets", "a budget"])
def test_a_build_as_it_was_passes_and_one_half_as_fast_fails(nodeid: str, asked: list[Any], tmp_path: Path) -> None:
    reports = [make_report(make_entry(measure_session(seed), asked, nodeid=nodeid)) for seed in range(10)]
    budgets = suggest(reports, tmp_path / "llmperf.toml")
    names = {limit.name for limit in find_limits(nodeid, budgets)}
    assert names == ({"latency.e2e_p50"} if asked else DEFAULT_NAMES)
    for slower, expected in ((1.0, Status.PASS), (2.0, Status.FAIL)):
        [test] = make_report(make_entry(measure_session(99, slower), nodeid=nodeid))["tests"]
        verdicts = judge_again(find_limits(nodeid, budgets), test, None)
        assert {v.status for v in verdicts if not v.name.startswith("memory")} == {expected}


DEFAULT_NAMES = {"memory.peak", "throughput.output", "latency.ttft_p50", "latency.tpot_p50"}


def test_each_limit_says_what_was_measured_and_what_it_finds(tmp_path: Path) -> None:
    reports = [make_report(make_entry(measure_session(s), limits("latency", ttft_p50="1 s"))) for s in range(10)]
    suggest(reports, tmp_path / "llmperf.toml")
    text = tmp_path.joinpath("llmperf.toml").read_text(encoding="utf-8")
    assert text.startswith("# of 10 runs\n\n[[budget]]\n")
    assert 'engine = "llamacpp"\ndevice = "AMD EPYC 7B13"\n' in text
    assert " in 10 runs, noise " in text
    assert "; now 1 s\n" in text
    assert "# a good build is FAIL in " in text
    assert "finds +" in text


def test_limits_against_the_baseline_leave_memory_in_bytes(tmp_path: Path) -> None:
    reports = [make_report(make_entry(measure_session(seed))) for seed in range(10)]
    found = {
        limit.name: limit for budget in suggest(reports, tmp_path / "x.toml", relative=True) for limit in budget.limits
    }
    assert not found["memory.peak"].relative
    assert found["latency.ttft_p50"].relative
    assert found["latency.ttft_p50"].text.startswith("+")
    assert found["throughput.output"].text.startswith("-")


def test_a_test_of_several_engines_gets_a_table_for_each_and_one_for_both(tmp_path: Path) -> None:
    reports = []
    for seed in range(10):
        parts = label_parts(
            [replace(measure_session(seed), engine=CPU), replace(measure_session(seed, 3.0), engine=L4)]
        )
        asked = [*limits("latency", ttft_p50="1 s"), *limits("latency", ttft_p50="1 s", engine="vllm")]
        reports.append(make_report(make_entry(replace(measure_session(seed), engine=None, parts=parts), asked)))
    budgets = suggest(reports, tmp_path / "llmperf.toml")
    scopes = [(limit.engine, limit.device) for budget in budgets for limit in budget.limits]
    assert scopes[0] == (None, None)
    assert [device for _, device in scopes[1:]] == ["NVIDIA L4"]


def test_what_too_few_runs_measured_is_a_comment(tmp_path: Path) -> None:
    reports = [make_report(make_entry(measure_session(s), limits("latency", ttft_p50="1 s"))) for s in range(2)]
    assert suggest(reports, tmp_path / "llmperf.toml") == ()
    text = tmp_path.joinpath("llmperf.toml").read_text(encoding="utf-8")
    assert "# latency.ttft_p50: no limit: 2 of 2 runs measured it, and it takes 3" in text


def test_what_runs_could_not_measure_validly_is_a_comment_with_the_reason(tmp_path: Path) -> None:
    disturbed = [replace(measure_session(s), disturbances=("others asked the engine meanwhile",)) for s in range(4)]
    budgets = suggest([make_report(make_entry(one)) for one in disturbed], tmp_path / "llmperf.toml")
    assert "latency.ttft_p50" not in {limit.name for budget in budgets for limit in budget.limits}
    text = tmp_path.joinpath("llmperf.toml").read_text(encoding="utf-8")
    why = "0 of 4 runs measured it, and it takes 3: others asked the engine meanwhile"
    assert f"# throughput.output: no limit: {why}" in text


def test_a_limit_that_disturbed_runs_would_make_invalid_says_so(tmp_path: Path) -> None:
    disturbed = [replace(measure_session(s), disturbances=("others asked the engine meanwhile",)) for s in range(4)]
    sessions = [disturbed[0], measure_session(1), *disturbed[2:]]
    suggest(
        [make_report(make_entry(one, limits("latency", ttft_p50="9 s"))) for one in sessions], tmp_path / "llmperf.toml"
    )
    text = tmp_path.joinpath("llmperf.toml").read_text(encoding="utf-8")
    doubt = "3 of 4 runs decide only limits that are far away and make others INVALID"
    assert f"# {doubt}, the first: others asked the engine meanwhile\nlatency.ttft_p50 = " in text


def test_a_limit_of_undisturbed_runs_says_nothing_of_the_kind(tmp_path: Path) -> None:
    suggest(
        [make_report(make_entry(measure_session(s), limits("latency", ttft_p50="9 s"))) for s in range(4)],
        tmp_path / "llmperf.toml",
    )
    assert "INVALID" not in tmp_path.joinpath("llmperf.toml").read_text(encoding="utf-8")
