"""pytest-llmperf: LLM performance as tests. The fixtures and markers need no import; this is what else users name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_llmperf.plugin.outcomes import BudgetExceeded as BudgetExceeded
    from pytest_llmperf.traffic.client.request import RequestFailed as RequestFailed
    from pytest_llmperf.traffic.workloads.files import workload_file as workload_file
    from pytest_llmperf.traffic.workloads.workload import workload as workload

__version__ = "0.1.0"
__all__ = ["BudgetExceeded", "RequestFailed", "__version__", "workload", "workload_file"]
_HOMES = {
    "BudgetExceeded": "pytest_llmperf.plugin.outcomes",
    "RequestFailed": "pytest_llmperf.traffic.client.request",
    "workload": "pytest_llmperf.traffic.workloads.workload",
    "workload_file": "pytest_llmperf.traffic.workloads.files",
}


def __getattr__(name: str) -> Any:
    # Engine processes import this package too, and must not pay for pytest.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
