from __future__ import annotations

from pytest_llmperf.testing.functions import FUNCTIONS
from pytest_llmperf.testing.names import ALIASES, FIRST_DRIVER, FUNCTION_NAMES


def test_each_function_that_has_a_name_has_an_answer() -> None:
    assert FUNCTIONS.keys() == FUNCTION_NAMES
    assert FIRST_DRIVER.keys() <= FUNCTION_NAMES
    assert {*ALIASES, *ALIASES.values()} <= FUNCTION_NAMES
