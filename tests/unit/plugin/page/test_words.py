"""The words of a command line that hold for one of its tests as well."""

from __future__ import annotations

import pytest

from pytest_llmperf.plugin.page.words import list_words_for_one_test


@pytest.mark.parametrize(
    ("arguments", "tests", "kept"),
    [
        ("--llm-engine=vllm tests -v", "tests", "--llm-engine=vllm -v"),
        ("--llm-engine vllm --llmperf-strict tests", "tests", "--llm-engine vllm --llmperf-strict"),
        ("-k tests tests --llmperf-rounds 3", "tests", "--llmperf-rounds 3"),
        ("-p tests tests", "tests", "-p tests"),
        ("tests -p tests", "tests", "-p tests"),
        ("-v -- tests", "tests", "-v"),
        ("-kname -m gpu --lf -x --maxfail=1", "", ""),
        ("--llmperf-report out.html --llmperf-report=a.json --junitxml=j.xml --llmperf-save=main -n 2", "", "-n 2"),
        ("-q", "tests", "-q"),
    ],
)
def test_the_choice_of_tests_and_other_outputs_are_left_out(arguments: str, tests: str, kept: str) -> None:
    assert list_words_for_one_test(arguments.split(), tests.split()) == kept.split()
