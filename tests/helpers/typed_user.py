"""A user's test file that type checkers accept: it names everything that pytest_llmperf exports. Never run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, assert_type

import pytest

from pytest_llmperf import (
    BYTES,
    INPUTS_PER_SECOND,
    JOULES,
    JOULES_PER_TOKEN,
    REQUESTS_PER_SECOND,
    SECONDS,
    SHARE,
    TOKENS_PER_SECOND,
    WATTS,
    Answer,
    Arrival,
    AttachedDeployment,
    BudgetExceeded,
    BudgetFailure,
    CancelledRequest,
    Cancelling,
    CapacityResult,
    Chunk,
    ClientHealth,
    ClientListener,
    Conditions,
    CostLimits,
    Deployment,
    Device,
    DeviceProcess,
    DeviceTrace,
    Dialect,
    DistributionMetric,
    Embeddings,
    Endpoint,
    Energy,
    EnergyLimits,
    Engine,
    EngineError,
    EngineInfo,
    EngineMemory,
    EngineParts,
    EngineSpec,
    EngineState,
    EngineStatus,
    EngineUnavailable,
    HttpApi,
    Insight,
    InvalidBudget,
    Lag,
    LatencyLimits,
    LLMClient,
    LLMClientFactory,
    LLMEngineFactory,
    LLMPerf,
    LLMPerfWarning,
    Load,
    LoadClientDied,
    LoadResult,
    MeasuredWindow,
    Measurement,
    MemoryLimits,
    MemoryTrace,
    Metric,
    NoVerdict,
    Observation,
    Observed,
    PageReading,
    Prompt,
    PromptCache,
    PromptHistory,
    Quantity,
    Ranking,
    Reading,
    RecordedValue,
    RelayError,
    ReportError,
    RequestFailed,
    RequestTiming,
    SampleSource,
    ScalarMetric,
    ServerClock,
    ServerDeployment,
    ServerTimes,
    Spread,
    StampLag,
    Status,
    StreamTime,
    StreamTimes,
    SweepResult,
    TestResult,
    ThroughputLimits,
    UnreadCall,
    Verdict,
    Window,
    Workload,
    __version__,
    cost_budget,
    energy_budget,
    latency_budget,
    llm_cache,
    llm_engines,
    memory_budget,
    quality_budget,
    read_report,
    register_metric,
    throughput_budget,
    workload,
    workload_file,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

assert_type(__version__, str)
ATTEMPTS = (RequestFailed, LoadClientDied, EngineError, RelayError, ReportError, InvalidBudget, EngineUnavailable)
LIMITS: LatencyLimits = {"ttft_p95": "300 ms", "startup": "90 s", "device": "NVIDIA H100*"}
MORE: tuple[MemoryLimits, ThroughputLimits, EnergyLimits] = ({"peak": "16 GiB"}, {"output": "800 tok/s"}, {})
PRICED: CostLimits = {"total": "0.10 EUR"}

pytestmark = [
    llm_engines("vllm", "llamacpp"),
    llm_cache("warm"),
    pytest.mark.filterwarnings(f"error::{LLMPerfWarning.__name__}"),
]


@pytest.mark.xfail(raises=BudgetExceeded, strict=True)
@memory_budget(peak="16 GiB", kv_waste="10 %", engine="vllm*")
@throughput_budget(goodput="10 req/s")
@latency_budget(itl_p99_9="50 ms", e2e_max="2 s")
@latency_budget(**LIMITS)
@energy_budget(per_output_token="2 J/tok")
@quality_budget(agreement="95 %", against="q8", accuracy="0.8")
@cost_budget(**PRICED)
def test_answers(llm_client: LLMClient, llm_engine: Engine, llm_perf: LLMPerf) -> None:
    answer = llm_client.generate("Once upon a time", max_tokens=8)
    assert_type(answer, Answer)
    assert_type(answer.timing, RequestTiming)
    assert_type(answer.timing.ttft, float | None)
    assert_type(llm_perf.read("memory.peak"), Reading)
    assert_type(llm_perf.measurement, Measurement)
    assert_type(llm_engine.memory(), EngineMemory)
    with llm_perf.window("second") as window:
        answers = llm_client.run(["One", "Two"], concurrency=2)
    assert_type(window, MeasuredWindow)
    assert_type(window.read("latency.ttft_max", engine="vllm"), Reading)
    assert_type(answers, list[Answer])


def test_load(llm_client: LLMClient, trace: Workload) -> None:
    for each in (
        workload(prompt_tokens="128-2048", output_tokens=64, requests=100),
        workload_file("trace.jsonl"),
        trace,
    ):
        result = llm_client.run(each, rate="50/s", warmup="5 s")
        assert_type(result, LoadResult)
        assert_type(result.failed, tuple[RequestTiming, ...])
        assert_type(llm_client.run(each, concurrency=4, until="decided", max_requests=1000), LoadResult)
        assert_type(llm_client.capacity(each, start="4/s", until="decided"), CapacityResult)
        assert_type(llm_client.sweep(each, concurrency=[1, 8]), SweepResult)


def test_several(llm_engine_factory: LLMEngineFactory, llm_client_factory: LLMClientFactory) -> None:
    engine = llm_engine_factory("ollama", model="qwen3:0.6b", args={"num_ctx": 2048})
    assert_type(engine, Engine)
    assert_type(llm_client_factory(engine), LLMClient)
    with pytest.raises(EngineError):
        engine.unload()


def test_inputs(llm_client: LLMClient, llm_perf: LLMPerf) -> None:
    assert_type(llm_client.embed(["a", "b"]), Embeddings)
    assert_type(llm_client.rerank("q", ["a", "b"], top_n=1), Ranking)
    llm_perf.ignore_path("/v1/audio/speech")


def test_a_stop_button(llm_client: LLMClient) -> None:
    with llm_client.expect_cancelled(within="5 s") as cancelling:
        llm_client.cancel()
    cancelled: Sequence[CancelledRequest] = cancelling.requests
    assert_type([request.noticed_after for request in cancelled], list[float | None])


def take_cancelled(cancelling: Cancelling) -> int:
    return len(cancelling.requests)


def test_coroutines(failure: BudgetFailure | NoVerdict) -> None:
    assert_type(failure.sections, tuple[tuple[str, str], ...])


UNITS: list[Quantity] = [
    *(BYTES, SECONDS, SHARE, JOULES, WATTS, JOULES_PER_TOKEN),
    *(TOKENS_PER_SECOND, REQUESTS_PER_SECOND, INPUTS_PER_SECOND),
]


def look_into(measurement: Measurement) -> None:
    assert_type(measurement.window, Window)
    assert_type(measurement.engine, EngineInfo | None)
    assert_type(measurement.memory, MemoryTrace | None)
    assert_type(measurement.devices, tuple[DeviceTrace, ...])
    assert_type(measurement.records, tuple[RecordedValue, ...])
    assert_type(measurement.loads, tuple[Load, ...])
    assert_type(measurement.server_clock, ServerClock | None)
    assert_type(measurement.prompt_cache, PromptCache)
    assert_type(measurement.prompt_cache.earlier, PromptHistory)
    assert_type(measurement.page_readings, Mapping[str, PageReading])


def look_at_device(trace: DeviceTrace) -> tuple[Device, Energy, Conditions, Sequence[DeviceProcess]]:
    return trace.device, trace.energy, trace.conditions, trace.conditions.newcomers


def look_at_load(load: Load) -> tuple[ClientHealth | None, Lag | None, Spread | None]:
    return load.health, load.health.loop_lag if load.health else None, load.output_came


def look_at_request(
    timing: RequestTiming,
) -> tuple[Sequence[Chunk], ServerTimes | None, Prompt | None, StampLag | None]:
    return timing.chunks, timing.server, timing.prompt, timing.lag


def look_at_calls(measurement: Measurement) -> Sequence[UnreadCall]:
    return measurement.unread


def look_at_clock(clock: ServerClock) -> tuple[StreamTimes | None, StreamTimes | None, str]:
    return clock.server, clock.client, clock.reason


def count_samples(measurement: Measurement) -> Reading:
    memory = measurement.memory
    return Reading.missing("no memory") if memory is None else Reading(float(len(memory.samples)))


def register(metric: Metric, kind: type[ScalarMetric | DistributionMetric], source: SampleSource) -> StreamTime:
    register_metric(metric)
    return metric.stream_time


def render(results: Sequence[TestResult], session: Mapping[str, Any]) -> str:
    verdicts: list[Verdict] = [verdict for result in results for verdict in result.verdicts]
    return str(sum(verdict.status is Status.PASS for verdict in verdicts))


def count_tests(path: Path) -> int:
    return len(read_report(path)["tests"])


class OwnServer(ServerDeployment):
    def command(self, folder: Path) -> list[str]:
        return ["own-server", str(self.spec.model), str(folder)]

    def find_url(self, folder: Path) -> str | None:
        return "http://127.0.0.1:8000/v1"


class OwnInsight(Insight):
    def readings(self) -> dict[str, Reading]:
        return {"memory.weights": Reading(1e9)}

    def observe(self) -> Observation:
        return Observation(lambda: self.readings())


def read_own(arrival: Arrival) -> Answer:
    raise ValueError(arrival.body)


class OwnEngine(Engine):
    name = "own"

    @classmethod
    def check(cls, spec: EngineSpec) -> None:
        if not spec.model:
            raise EngineError("own needs a model")

    @classmethod
    def compose(cls, spec: EngineSpec) -> EngineParts:
        dialect = Dialect(
            full_length={"ignore_eos": True},
            api=lambda endpoint: HttpApi(endpoint.url, lambda path, body: ("/say", body), read_own, ("limit",)),
        )
        deployment: Deployment = AttachedDeployment(spec) if spec.url else OwnServer(spec)
        return EngineParts(deployment, dialect, OwnInsight())


def look_at(engine: Engine, seen: Observed) -> bool:
    assert_type(engine.endpoint, Endpoint)
    return engine.deployment.state is EngineState.READY and not seen.faults


def use(engine: Engine) -> LLMClient:
    assert_type(engine.read_status(), EngineStatus)
    return LLMClient(engine.endpoint, engine.dialect, listener=ClientListener(say=print))
