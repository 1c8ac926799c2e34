"""The exceptions by which a test fails. Each has a message of exactly one line; what is longer goes into sections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence


class _OneLineFailure(pytest.fail.Exception):  # type: ignore[name-defined,misc]
    """``sections`` of (title, text) are added to the report: they survive ``--show-capture=no`` and pytest-xdist."""

    def __init__(self, message: str, sections: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(" ".join(message.split()), pytrace=False)
        self.sections = tuple(sections)


class BudgetExceeded(_OneLineFailure):
    """The test itself passed, and at least one of its budgets is broken (or has no verdict, under --llmperf-strict)."""


class InvalidBudget(_OneLineFailure):
    """A marker of the test cannot be understood."""


class EngineUnavailable(_OneLineFailure):
    """The engine a test asked for cannot be had."""


class LLMPerfWarning(pytest.PytestWarning):
    """A budget that says less than it seems to."""


# As pytest does for its own outcomes, so that the summary names them without a path.
for _failure in (BudgetExceeded, InvalidBudget, EngineUnavailable, LLMPerfWarning):
    _failure.__module__ = "builtins"
