"""Changes against a baseline in every report: the table, the failure, Markdown, and the wire."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_llmperf.budgets.interval import Interval
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.reports.markdown import report as markdown
from pytest_llmperf.reports.result import from_wire, to_wire
from pytest_llmperf.reports.terminal.failure_table import render_failure
from pytest_llmperf.reports.terminal.summary import render_summary, warn_of_session_noise
from tests.helpers.report_samples import result
from tests.helpers.verdicts import verdict

SLOWER = replace(
    verdict(Status.PASS, "latency.ttft_p95", "latency.ttft", 0.33, "+10 %", 0.3123, "t1 − t0, 12 requests"),
    relative=True, baseline=0.3, interval=Interval(0.3084, 0.3165, 12, 12.0, "run"), p_value=0.97,
)  # fmt: skip
LESS = replace(
    verdict(Status.FAIL, "throughput.output", "throughput.output", 95.0, "-5 %", 80.0), relative=True, baseline=100.0
)
NONE = verdict(
    Status.NO_BASELINE, "memory.peak", "memory.peak", None, "+2 %", 1.0,
    reason="not comparable with main: NVIDIA L4 / NVIDIA A10G", relative=True,
)  # fmt: skip
FOUND = result(verdicts=(SLOWER, LESS, NONE))


@pytest.mark.parametrize("text", [render_failure(FOUND), "\n".join(render_summary([FOUND], width=140))])
def test_a_table_shows_the_change_beside_what_is_allowed(text: str) -> None:
    for shown in ("+4.1 % (+2.8 to +5.5)", "≤ +10 %", "-20.0 %", "≥ -5 %", "≤ +2 %", "NO BASELINE"):
        assert shown in text
    assert "memory.peak NO BASELINE: not comparable with main: NVIDIA L4 / NVIDIA A10G" in " ".join(text.split())


def test_markdown_has_the_same() -> None:
    text = markdown.render([FOUND], {})
    assert "| `latency.ttft_p95` | +4.1 % (+2.8 to +5.5) | ≤ +10 % |" in text
    assert "NO BASELINE | `tests/test_chat.py::test_answer` | `memory.peak` |" in text


def test_the_wire_loses_nothing() -> None:
    assert from_wire(to_wire(FOUND)).verdicts == FOUND.verdicts


def test_noise_between_sessions_is_known_for_a_change() -> None:
    close = replace(SLOWER, limit=0.317)
    assert warn_of_session_noise([result(verdicts=(close,))]) == []
    assert warn_of_session_noise([result(verdicts=(replace(close, relative=False),))]) != []
