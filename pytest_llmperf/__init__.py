"""pytest-llmperf: LLM performance as tests.

Fixtures and markers need no import. This module has the names for everything else: types of what the fixtures give,
exceptions, workloads, the markers as typed functions, and what own metrics, engines and reports are made of.

The exceptions that public calls raise, each below its base class:

    pytest.fail.Exception       fails a test without a traceback
        BudgetFailure           the budgets of a test fail it
            BudgetExceeded      a budget is broken
            NoVerdict           a budget is NOT MEASURED, INVALID, NO BUDGET or NO BASELINE, with --llmperf-strict
        InvalidBudget           a marker cannot be understood
        EngineUnavailable       an engine that a fixture was asked for cannot be started
    Exception
        EngineError             an engine cannot do what it was asked: llm_engine.unload(), sleep(), restart()
        RequestFailed           a request got no complete answer: llm_client.generate(), chat(), run()
        LoadClientDied          the process that sends a load ended: llm_client.run(workload(...))
        RelayError              no relay can be started: llm_client.base_url
        ReportError             a JSON report cannot be read: read_report()
    pytest.PytestWarning
        LLMPerfWarning          a budget says less than it seems to

Arguments that make no sense raise ValueError. A window that is read before its end raises RuntimeError, and so does
``llm_client.base_url`` on an engine that has no address.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "BYTES",
    "INPUTS_PER_SECOND",
    "JOULES",
    "JOULES_PER_TOKEN",
    "REQUESTS_PER_SECOND",
    "SECONDS",
    "SHARE",
    "TOKENS_PER_SECOND",
    "WATTS",
    "Answer",
    "Arrival",
    "AttachedDeployment",
    "BudgetExceeded",
    "BudgetFailure",
    "CancelledRequest",
    "Cancelling",
    "CapacityResult",
    "Chunk",
    "ClientHealth",
    "ClientListener",
    "Conditions",
    "CostLimits",
    "Deployment",
    "Device",
    "DeviceProcess",
    "DeviceTrace",
    "Dialect",
    "DistributionMetric",
    "Embeddings",
    "Endpoint",
    "Energy",
    "EnergyLimits",
    "Engine",
    "EngineError",
    "EngineInfo",
    "EngineMemory",
    "EngineParts",
    "EngineSpec",
    "EngineState",
    "EngineStatus",
    "EngineUnavailable",
    "HttpApi",
    "Insight",
    "InvalidBudget",
    "LLMClient",
    "LLMClientFactory",
    "LLMEngineFactory",
    "LLMPerf",
    "LLMPerfWarning",
    "Lag",
    "LatencyLimits",
    "Load",
    "LoadClientDied",
    "LoadResult",
    "MeasuredWindow",
    "Measurement",
    "MemoryLimits",
    "MemoryTrace",
    "Metric",
    "NoVerdict",
    "Observation",
    "Observed",
    "PageReading",
    "Prompt",
    "PromptCache",
    "PromptHistory",
    "Quantity",
    "Ranking",
    "Reading",
    "RecordedValue",
    "RelayError",
    "ReportError",
    "RequestFailed",
    "RequestTiming",
    "SampleSource",
    "ScalarMetric",
    "ServerClock",
    "ServerDeployment",
    "ServerTimes",
    "Spread",
    "StampLag",
    "Status",
    "StreamTime",
    "StreamTimes",
    "SweepResult",
    "TestResult",
    "ThroughputLimits",
    "UnreadCall",
    "Verdict",
    "Window",
    "Workload",
    "__version__",
    "cost_budget",
    "energy_budget",
    "latency_budget",
    "llm_cache",
    "llm_engines",
    "memory_budget",
    "quality_budget",
    "read_report",
    "register_metric",
    "throughput_budget",
    "workload",
    "workload_file",
]
_HOMES = {
    "Answer": "pytest_llmperf.traffic.answers.answer",
    "Arrival": "pytest_llmperf.traffic.answers.answer",
    "AttachedDeployment": "pytest_llmperf.engines.lifecycle.attached_deployment",
    "BYTES": "pytest_llmperf.measurement.units",
    "BudgetExceeded": "pytest_llmperf.plugin.outcomes",
    "BudgetFailure": "pytest_llmperf.plugin.outcomes",
    "CancelledRequest": "pytest_llmperf.measurement.cancelling.cancelled",
    "CapacityResult": "pytest_llmperf.measurement.capacity.result",
    "SweepResult": "pytest_llmperf.measurement.capacity.result",
    "Cancelling": "pytest_llmperf.traffic.client.listener",
    "Chunk": "pytest_llmperf.measurement.chunks",
    "ClientHealth": "pytest_llmperf.measurement.load",
    "ClientListener": "pytest_llmperf.traffic.client.listener",
    "Conditions": "pytest_llmperf.measurement.device_trace",
    "Deployment": "pytest_llmperf.engines.api.deployment",
    "Device": "pytest_llmperf.measurement.engine_info",
    "DeviceProcess": "pytest_llmperf.measurement.device_trace",
    "DeviceTrace": "pytest_llmperf.measurement.device_trace",
    "Dialect": "pytest_llmperf.traffic.client.dialect",
    "Embeddings": "pytest_llmperf.traffic.client.inputs",
    "Ranking": "pytest_llmperf.traffic.client.inputs",
    "DistributionMetric": "pytest_llmperf.metrics.metric",
    "Endpoint": "pytest_llmperf.traffic.client.dialect",
    "Energy": "pytest_llmperf.measurement.device_trace",
    "CostLimits": "pytest_llmperf.plugin.markers.functions",
    "EnergyLimits": "pytest_llmperf.plugin.markers.functions",
    "Engine": "pytest_llmperf.engines.api.engine",
    "EngineError": "pytest_llmperf.engines.api.spec",
    "EngineInfo": "pytest_llmperf.measurement.engine_info",
    "EngineMemory": "pytest_llmperf.engines.api.engine",
    "EngineParts": "pytest_llmperf.engines.api.engine",
    "EngineSpec": "pytest_llmperf.engines.api.spec",
    "EngineState": "pytest_llmperf.engines.api.state",
    "EngineStatus": "pytest_llmperf.engines.api.state",
    "EngineUnavailable": "pytest_llmperf.plugin.outcomes",
    "HttpApi": "pytest_llmperf.traffic.client.api",
    "Insight": "pytest_llmperf.engines.api.insight",
    "InvalidBudget": "pytest_llmperf.plugin.outcomes",
    "JOULES": "pytest_llmperf.measurement.units",
    "JOULES_PER_TOKEN": "pytest_llmperf.measurement.units",
    "LLMClient": "pytest_llmperf.traffic.llm_client",
    "LLMClientFactory": "pytest_llmperf.plugin.fixtures",
    "LLMEngineFactory": "pytest_llmperf.plugin.fixtures",
    "LLMPerf": "pytest_llmperf.plugin.fixtures",
    "LLMPerfWarning": "pytest_llmperf.plugin.outcomes",
    "Lag": "pytest_llmperf.measurement.load",
    "LatencyLimits": "pytest_llmperf.plugin.markers.functions",
    "Load": "pytest_llmperf.measurement.load",
    "LoadClientDied": "pytest_llmperf.traffic.load.process",
    "LoadResult": "pytest_llmperf.traffic.load.result",
    "MeasuredWindow": "pytest_llmperf.plugin.measuring.measured_run",
    "Measurement": "pytest_llmperf.measurement.measurement",
    "MemoryLimits": "pytest_llmperf.plugin.markers.functions",
    "MemoryTrace": "pytest_llmperf.measurement.memory_trace",
    "Metric": "pytest_llmperf.metrics.metric",
    "NoVerdict": "pytest_llmperf.plugin.outcomes",
    "Observation": "pytest_llmperf.engines.api.observation",
    "Observed": "pytest_llmperf.engines.api.observation",
    "PageReading": "pytest_llmperf.measurement.reading",
    "Prompt": "pytest_llmperf.measurement.prompts",
    "PromptCache": "pytest_llmperf.measurement.prompts",
    "PromptHistory": "pytest_llmperf.measurement.prompts",
    "Quantity": "pytest_llmperf.measurement.units",
    "INPUTS_PER_SECOND": "pytest_llmperf.measurement.units",
    "REQUESTS_PER_SECOND": "pytest_llmperf.measurement.units",
    "Reading": "pytest_llmperf.measurement.reading",
    "RecordedValue": "pytest_llmperf.measurement.measurement",
    "RelayError": "pytest_llmperf.traffic.relay.process",
    "ReportError": "pytest_llmperf.reports.report_file",
    "RequestFailed": "pytest_llmperf.traffic.client.request",
    "RequestTiming": "pytest_llmperf.measurement.request",
    "SECONDS": "pytest_llmperf.measurement.units",
    "SHARE": "pytest_llmperf.measurement.units",
    "SampleSource": "pytest_llmperf.metrics.metric",
    "ScalarMetric": "pytest_llmperf.metrics.metric",
    "ServerDeployment": "pytest_llmperf.engines.lifecycle.server_deployment",
    "ServerClock": "pytest_llmperf.measurement.server_clock",
    "ServerTimes": "pytest_llmperf.measurement.request",
    "Spread": "pytest_llmperf.measurement.load",
    "StampLag": "pytest_llmperf.measurement.request",
    "Status": "pytest_llmperf.budgets.verdict",
    "StreamTime": "pytest_llmperf.metrics.metric",
    "StreamTimes": "pytest_llmperf.measurement.server_clock",
    "TOKENS_PER_SECOND": "pytest_llmperf.measurement.units",
    "TestResult": "pytest_llmperf.reports.result",
    "ThroughputLimits": "pytest_llmperf.plugin.markers.functions",
    "UnreadCall": "pytest_llmperf.measurement.unread",
    "Verdict": "pytest_llmperf.budgets.verdict",
    "WATTS": "pytest_llmperf.measurement.units",
    "Window": "pytest_llmperf.measurement.window",
    "Workload": "pytest_llmperf.traffic.workloads.workload",
    "__version__": "pytest_llmperf.system.version",
    "cost_budget": "pytest_llmperf.plugin.markers.functions",
    "energy_budget": "pytest_llmperf.plugin.markers.functions",
    "latency_budget": "pytest_llmperf.plugin.markers.functions",
    "llm_cache": "pytest_llmperf.plugin.markers.functions",
    "llm_engines": "pytest_llmperf.plugin.markers.functions",
    "memory_budget": "pytest_llmperf.plugin.markers.functions",
    "quality_budget": "pytest_llmperf.plugin.markers.functions",
    "read_report": "pytest_llmperf.reports.report_file",
    "register_metric": "pytest_llmperf.metrics.table",
    "throughput_budget": "pytest_llmperf.plugin.markers.functions",
    "workload": "pytest_llmperf.traffic.workloads.workload",
    "workload_file": "pytest_llmperf.traffic.workloads.files.file_workload",
}

if TYPE_CHECKING:
    from pytest_llmperf.budgets.verdict import Status as Status
    from pytest_llmperf.budgets.verdict import Verdict as Verdict
    from pytest_llmperf.engines.api.deployment import Deployment as Deployment
    from pytest_llmperf.engines.api.engine import Engine as Engine
    from pytest_llmperf.engines.api.engine import EngineMemory as EngineMemory
    from pytest_llmperf.engines.api.engine import EngineParts as EngineParts
    from pytest_llmperf.engines.api.insight import Insight as Insight
    from pytest_llmperf.engines.api.observation import Observation as Observation
    from pytest_llmperf.engines.api.observation import Observed as Observed
    from pytest_llmperf.engines.api.spec import EngineError as EngineError
    from pytest_llmperf.engines.api.spec import EngineSpec as EngineSpec
    from pytest_llmperf.engines.api.state import EngineState as EngineState
    from pytest_llmperf.engines.api.state import EngineStatus as EngineStatus
    from pytest_llmperf.engines.lifecycle.attached_deployment import AttachedDeployment as AttachedDeployment
    from pytest_llmperf.engines.lifecycle.server_deployment import ServerDeployment as ServerDeployment
    from pytest_llmperf.measurement.cancelling.cancelled import CancelledRequest as CancelledRequest
    from pytest_llmperf.measurement.capacity.result import CapacityResult as CapacityResult
    from pytest_llmperf.measurement.capacity.result import SweepResult as SweepResult
    from pytest_llmperf.measurement.chunks import Chunk as Chunk
    from pytest_llmperf.measurement.device_trace import Conditions as Conditions
    from pytest_llmperf.measurement.device_trace import DeviceProcess as DeviceProcess
    from pytest_llmperf.measurement.device_trace import DeviceTrace as DeviceTrace
    from pytest_llmperf.measurement.device_trace import Energy as Energy
    from pytest_llmperf.measurement.engine_info import Device as Device
    from pytest_llmperf.measurement.engine_info import EngineInfo as EngineInfo
    from pytest_llmperf.measurement.load import ClientHealth as ClientHealth
    from pytest_llmperf.measurement.load import Lag as Lag
    from pytest_llmperf.measurement.load import Load as Load
    from pytest_llmperf.measurement.load import Spread as Spread
    from pytest_llmperf.measurement.measurement import Measurement as Measurement
    from pytest_llmperf.measurement.measurement import RecordedValue as RecordedValue
    from pytest_llmperf.measurement.memory_trace import MemoryTrace as MemoryTrace
    from pytest_llmperf.measurement.prompts import Prompt as Prompt
    from pytest_llmperf.measurement.prompts import PromptCache as PromptCache
    from pytest_llmperf.measurement.prompts import PromptHistory as PromptHistory
    from pytest_llmperf.measurement.reading import PageReading as PageReading
    from pytest_llmperf.measurement.reading import Reading as Reading
    from pytest_llmperf.measurement.request import RequestTiming as RequestTiming
    from pytest_llmperf.measurement.request import ServerTimes as ServerTimes
    from pytest_llmperf.measurement.request import StampLag as StampLag
    from pytest_llmperf.measurement.server_clock import ServerClock as ServerClock
    from pytest_llmperf.measurement.server_clock import StreamTimes as StreamTimes
    from pytest_llmperf.measurement.units import BYTES as BYTES
    from pytest_llmperf.measurement.units import INPUTS_PER_SECOND as INPUTS_PER_SECOND
    from pytest_llmperf.measurement.units import JOULES as JOULES
    from pytest_llmperf.measurement.units import JOULES_PER_TOKEN as JOULES_PER_TOKEN
    from pytest_llmperf.measurement.units import REQUESTS_PER_SECOND as REQUESTS_PER_SECOND
    from pytest_llmperf.measurement.units import SECONDS as SECONDS
    from pytest_llmperf.measurement.units import SHARE as SHARE
    from pytest_llmperf.measurement.units import TOKENS_PER_SECOND as TOKENS_PER_SECOND
    from pytest_llmperf.measurement.units import WATTS as WATTS
    from pytest_llmperf.measurement.units import Quantity as Quantity
    from pytest_llmperf.measurement.unread import UnreadCall as UnreadCall
    from pytest_llmperf.measurement.window import Window as Window
    from pytest_llmperf.metrics.metric import DistributionMetric as DistributionMetric
    from pytest_llmperf.metrics.metric import Metric as Metric
    from pytest_llmperf.metrics.metric import SampleSource as SampleSource
    from pytest_llmperf.metrics.metric import ScalarMetric as ScalarMetric
    from pytest_llmperf.metrics.metric import StreamTime as StreamTime
    from pytest_llmperf.metrics.table import register_metric as register_metric
    from pytest_llmperf.plugin.fixtures import LLMClientFactory as LLMClientFactory
    from pytest_llmperf.plugin.fixtures import LLMEngineFactory as LLMEngineFactory
    from pytest_llmperf.plugin.fixtures import LLMPerf as LLMPerf
    from pytest_llmperf.plugin.markers.functions import CostLimits as CostLimits
    from pytest_llmperf.plugin.markers.functions import EnergyLimits as EnergyLimits
    from pytest_llmperf.plugin.markers.functions import LatencyLimits as LatencyLimits
    from pytest_llmperf.plugin.markers.functions import MemoryLimits as MemoryLimits
    from pytest_llmperf.plugin.markers.functions import ThroughputLimits as ThroughputLimits
    from pytest_llmperf.plugin.markers.functions import cost_budget as cost_budget
    from pytest_llmperf.plugin.markers.functions import energy_budget as energy_budget
    from pytest_llmperf.plugin.markers.functions import latency_budget as latency_budget
    from pytest_llmperf.plugin.markers.functions import llm_cache as llm_cache
    from pytest_llmperf.plugin.markers.functions import llm_engines as llm_engines
    from pytest_llmperf.plugin.markers.functions import memory_budget as memory_budget
    from pytest_llmperf.plugin.markers.functions import quality_budget as quality_budget
    from pytest_llmperf.plugin.markers.functions import throughput_budget as throughput_budget
    from pytest_llmperf.plugin.measuring.measured_run import MeasuredWindow as MeasuredWindow
    from pytest_llmperf.plugin.outcomes import BudgetExceeded as BudgetExceeded
    from pytest_llmperf.plugin.outcomes import BudgetFailure as BudgetFailure
    from pytest_llmperf.plugin.outcomes import EngineUnavailable as EngineUnavailable
    from pytest_llmperf.plugin.outcomes import InvalidBudget as InvalidBudget
    from pytest_llmperf.plugin.outcomes import LLMPerfWarning as LLMPerfWarning
    from pytest_llmperf.plugin.outcomes import NoVerdict as NoVerdict
    from pytest_llmperf.reports.report_file import ReportError as ReportError
    from pytest_llmperf.reports.report_file import read_report as read_report
    from pytest_llmperf.reports.result import TestResult as TestResult
    from pytest_llmperf.system.version import __version__ as __version__
    from pytest_llmperf.traffic.answers.answer import Answer as Answer
    from pytest_llmperf.traffic.answers.answer import Arrival as Arrival
    from pytest_llmperf.traffic.client.api import HttpApi as HttpApi
    from pytest_llmperf.traffic.client.dialect import Dialect as Dialect
    from pytest_llmperf.traffic.client.dialect import Endpoint as Endpoint
    from pytest_llmperf.traffic.client.inputs import Embeddings as Embeddings
    from pytest_llmperf.traffic.client.inputs import Ranking as Ranking
    from pytest_llmperf.traffic.client.listener import Cancelling as Cancelling
    from pytest_llmperf.traffic.client.listener import ClientListener as ClientListener
    from pytest_llmperf.traffic.client.request import RequestFailed as RequestFailed
    from pytest_llmperf.traffic.llm_client import LLMClient as LLMClient
    from pytest_llmperf.traffic.load.process import LoadClientDied as LoadClientDied
    from pytest_llmperf.traffic.load.result import LoadResult as LoadResult
    from pytest_llmperf.traffic.relay.process import RelayError as RelayError
    from pytest_llmperf.traffic.workloads.files.file_workload import workload_file as workload_file
    from pytest_llmperf.traffic.workloads.workload import Workload as Workload
    from pytest_llmperf.traffic.workloads.workload import workload as workload
else:
    # Hidden from type checkers, which would take any name for one of this package.
    def __getattr__(name: str) -> Any:
        # Engine processes import this package too, and must not pay for pytest.
        if name in _HOMES:
            return getattr(import_module(_HOMES[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
