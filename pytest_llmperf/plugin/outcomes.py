"""The exceptions by which this plugin fails or skips a test, and its warning.

The message of each is one line, which is what pytest's summary shows; what is longer goes into sections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    class _Failed(BaseException):
        """``pytest.fail.Exception``: an attribute, which type checkers do not accept as a base."""

        def __init__(self, msg: str | None = None, pytrace: bool = True) -> None: ...

    class _Skipped(BaseException):
        """``pytest.skip.Exception``, as above."""
else:
    _Failed = pytest.fail.Exception
    _Skipped = pytest.skip.Exception


class OneLineFailure(_Failed):
    """Fails a test without a traceback.

    Attributes:
        sections: (title, text) pairs that are added to the report. They survive ``--show-capture=no`` and pytest-xdist.
    """

    def __init__(self, message: str, sections: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(" ".join(message.split()), pytrace=False)
        self.sections = tuple(sections)


class BudgetFailure(OneLineFailure):
    """The test itself passed, and its budgets fail it.

    Raised as it is, and not as one of its subclasses, when some budgets of a test are broken and others have no
    verdict. That takes ``--llmperf-strict``.
    """


class BudgetExceeded(BudgetFailure):
    """At least one budget is broken (FAIL). Under ``--llmperf-strict`` all the others have a verdict."""


class NoVerdict(BudgetFailure):
    """No budget is broken, and at least one has no verdict.

    That is NOT MEASURED, INVALID, NO BUDGET or NO BASELINE under ``--llmperf-strict``, INCONCLUSIVE under
    ``--llmperf-on-inconclusive=fail``.
    """


class InvalidBudget(OneLineFailure):
    """A marker of the test cannot be understood. Raised before anything is started for the test."""


class EngineUnavailable(OneLineFailure):
    """An engine that a fixture was asked for does not run and cannot be started; its log is in a section."""


class NoEngine(_Skipped):
    """Skips a test that needs an engine in a run that was given none."""


class LLMPerfWarning(pytest.PytestWarning):
    """A budget that says less than it seems to."""


# As pytest does for its own outcomes, so that the summary names them without a path.
for _outcome in (BudgetFailure, BudgetExceeded, NoVerdict, InvalidBudget, EngineUnavailable, LLMPerfWarning):
    _outcome.__module__ = "builtins"
