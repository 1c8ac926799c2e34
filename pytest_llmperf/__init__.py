"""pytest-llmperf: LLM performance as tests. The fixtures and markers need no import; this is what else users name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_llmperf.failures import BudgetExceeded as BudgetExceeded

__version__ = "0.1.0"
__all__ = ["BudgetExceeded", "__version__"]


def __getattr__(name: str) -> Any:
    # Engine processes import this package too, and must not pay for pytest.
    if name == "BudgetExceeded":
        from pytest_llmperf.failures import BudgetExceeded

        return BudgetExceeded
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
