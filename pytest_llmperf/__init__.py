"""pytest-llmperf: LLM performance as tests. The fixtures and markers need no import; this is what else users name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_llmperf.measurement.measurement import Measurement as Measurement
    from pytest_llmperf.measurement.reading import Reading as Reading
    from pytest_llmperf.measurement.request import RequestTiming as RequestTiming
    from pytest_llmperf.metrics.metric import DistributionMetric as DistributionMetric
    from pytest_llmperf.metrics.metric import Metric as Metric
    from pytest_llmperf.metrics.metric import SampleSource as SampleSource
    from pytest_llmperf.metrics.metric import ScalarMetric as ScalarMetric
    from pytest_llmperf.metrics.table import register_metric as register_metric
    from pytest_llmperf.plugin.outcomes import BudgetExceeded as BudgetExceeded
    from pytest_llmperf.plugin.outcomes import BudgetFailure as BudgetFailure
    from pytest_llmperf.plugin.outcomes import NoVerdict as NoVerdict
    from pytest_llmperf.traffic.client.request import RequestFailed as RequestFailed
    from pytest_llmperf.traffic.workloads.files import workload_file as workload_file
    from pytest_llmperf.traffic.workloads.workload import workload as workload

__version__ = "0.1.0"
__all__ = [
    "BudgetExceeded",
    "BudgetFailure",
    "DistributionMetric",
    "Measurement",
    "Metric",
    "NoVerdict",
    "Reading",
    "RequestFailed",
    "RequestTiming",
    "SampleSource",
    "ScalarMetric",
    "__version__",
    "register_metric",
    "workload",
    "workload_file",
]
_HOMES = {
    "BudgetExceeded": "pytest_llmperf.plugin.outcomes",
    "BudgetFailure": "pytest_llmperf.plugin.outcomes",
    "NoVerdict": "pytest_llmperf.plugin.outcomes",
    "DistributionMetric": "pytest_llmperf.metrics.metric",
    "Measurement": "pytest_llmperf.measurement.measurement",
    "Metric": "pytest_llmperf.metrics.metric",
    "Reading": "pytest_llmperf.measurement.reading",
    "RequestFailed": "pytest_llmperf.traffic.client.request",
    "RequestTiming": "pytest_llmperf.measurement.request",
    "ScalarMetric": "pytest_llmperf.metrics.metric",
    "SampleSource": "pytest_llmperf.metrics.metric",
    "register_metric": "pytest_llmperf.metrics.table",
    "workload": "pytest_llmperf.traffic.workloads.workload",
    "workload_file": "pytest_llmperf.traffic.workloads.files",
}


def __getattr__(name: str) -> Any:
    # Engine processes import this package too, and must not pay for pytest.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
