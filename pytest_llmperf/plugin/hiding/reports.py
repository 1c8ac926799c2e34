"""Keys in pytest's own reports of tests: tracebacks, captured output, properties."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.system.known_keys import hide_keys, knows_keys

if TYPE_CHECKING:
    import pytest


def hide_keys_of_report(report: pytest.TestReport) -> None:
    """Hides the keys in all that a report shows of a test. Its name stays: other plugins know the test by it."""
    if knows_keys():
        report.longrepr = _hide(report.longrepr, set())
        report.sections = _hide(report.sections, set())
        report.user_properties = _hide(report.user_properties, set())


def _hide(value: Any, seen: set[int]) -> Any:
    """Returns what to put in place of ``value``; the parts of a traceback are changed where they are."""
    if isinstance(value, str):
        return hide_keys(value)
    if type(value) in (list, tuple):
        return type(value)(_hide(inner, seen) for inner in value)
    if type(value).__module__.startswith("_pytest.") and id(value) not in seen:
        seen.add(id(value))
        for name, inner in list(vars(value).items()):
            # Some of these classes are frozen.
            object.__setattr__(value, name, _hide(inner, seen))
    return value
