"""A sample of the kill matrix, and what the matrix says about itself; ``scripts/matrix`` runs all of it."""

from __future__ import annotations

import sys

import pytest

from scripts.kill_matrix import BEGIN, PAGE, make_tables, read_endings
from tests.matrix.cases import ENGINES, MODES, SAMPLE, SIGNALS, Case, list_cases
from tests.matrix.trial import ABSENT, run_trial

# Processes are found by their environment, and signals are followed, in /proc.
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


@linux
@pytest.mark.parametrize("case", SAMPLE, ids=str)
def test_a_disturbed_run_ends_with_a_verdict_or_an_error_and_leaves_nothing(case: Case) -> None:
    outcome = run_trial(case)
    assert not outcome.faults, "\n".join([*outcome.faults, outcome.output])
    assert outcome.ending != ABSENT, outcome.output


@pytest.mark.once
def test_the_sample_has_every_signal_and_only_cases_of_the_matrix() -> None:
    assert {case.signal for case in SAMPLE} == set(SIGNALS)
    assert all(case in list_cases(case.engine, case.mode) for case in SAMPLE)


@pytest.mark.once
def test_the_page_has_the_endings_that_are_kept() -> None:
    endings = read_endings()
    text = PAGE.read_text(encoding="utf-8")
    assert text[text.index(BEGIN) :] == make_tables(endings)
    known = {case for engine in ENGINES for mode in MODES for case in list_cases(engine, mode)}
    assert set(endings) <= known
