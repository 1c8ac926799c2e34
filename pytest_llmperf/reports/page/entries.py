"""The tests of a run as the page lists them: by test function, the worst first."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.reports.page.states import STATES, find_state, find_tone, list_verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.reports.result import TestResult


@dataclass(frozen=True)
class ListedTest:
    """One test.

    Attributes:
        result: what is known of it.
        anchor: its address inside of the page, which is the same in every run.
        function: its node id without parameters.
        parameters: what stands in brackets at the end of its node id; empty if nothing does.
        state: one of ``STATES``.
        verdicts: on its budgets, the worst first.
    """

    result: TestResult
    anchor: str
    function: str
    parameters: str
    state: str
    verdicts: tuple[Verdict, ...]

    @property
    def nodeid(self) -> str:
        """pytest's."""
        return self.result.nodeid

    @property
    def tone(self) -> str:
        """The class of its state: ``fail``, ``warn``, ``pass`` or ``plain``."""
        return find_tone(self.state)

    @property
    def lead(self) -> Verdict | None:
        """The worst verdict; None without budgets."""
        return self.verdicts[0] if self.verdicts else None

    @property
    def place(self) -> tuple[int, float, str]:
        """Sorts tests: by state, among equals by the room that is left, and then by name."""
        margins = [verdict.margin for verdict in self.verdicts if verdict.margin is not None]
        return STATES.index(self.state), min(margins, default=1.0), self.nodeid


@dataclass(frozen=True)
class ListedFunction:
    """The tests of one function, the worst first; ``is_one`` if it is a single test, which needs no heading."""

    function: str
    entries: tuple[ListedTest, ...]

    @property
    def is_one(self) -> bool:
        """Whether it is a single test."""
        return len(self.entries) == 1


def group_tests(results: Sequence[TestResult]) -> list[ListedFunction]:
    """All tests by function; the function with the worst test comes first."""
    groups: dict[str, list[ListedTest]] = {}
    for entry in sorted(map(make_entry, results), key=lambda one: one.place):
        groups.setdefault(entry.function, []).append(entry)
    return [ListedFunction(function, tuple(entries)) for function, entries in groups.items()]


def make_entry(result: TestResult) -> ListedTest:
    """The entry of one test."""
    function, bracket, rest = result.nodeid.partition("[")
    return ListedTest(
        result=result,
        anchor=make_anchor(result.nodeid),
        function=function,
        parameters=f"{bracket}{rest}",
        state=find_state(result),
        verdicts=tuple(list_verdicts(result)),
    )


def make_anchor(nodeid: str) -> str:
    """``t`` and ten hexadecimal digits."""
    return f"t{hashlib.sha256(nodeid.encode(errors='surrogatepass')).hexdigest()[:10]}"
