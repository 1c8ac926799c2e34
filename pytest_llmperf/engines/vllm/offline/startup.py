"""Creates and disposes of an in-process ``vllm.LLM``. Imports vLLM only when called."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import gc
import importlib.metadata
import io
import logging
import os
import sys
import warnings
from collections import deque
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.vllm.arguments import build_command_line, choose_kv_cache_bytes, parse_kv_cache_bytes
from pytest_llmperf.system.cuda_environ import VISIBLE_DEVICES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pytest_llmperf.engines.api.spec import EngineSpec

_OURS = ("mode", "kv_cache")
_LOG_LINES = 20
_LOG_LINES_KEPT = 2000


class LogTail(logging.Handler):
    """The last lines that vLLM has logged in this process."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=_LOG_LINES_KEPT)

    def listen(self) -> None:
        """Starts with no lines; vLLM must have been imported, since that replaces the handlers of its log."""
        self._lines.clear()
        logging.getLogger("vllm").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))

    @property
    def text(self) -> str:
        """The last of them, for a report."""
        return "\n".join(list(self._lines)[-_LOG_LINES:])

    @property
    def whole(self) -> str:
        """All that are kept."""
        return "\n".join(self._lines)


@contextlib.contextmanager
def environment(spec: EngineSpec, folder: Path | None, files: Path) -> Iterator[None]:
    """The environment variables to load a model with; variables that the caller has set are kept.

    ``folder`` is the model's, where it has one; ``files`` takes what vLLM would leave among the temporary files.
    """
    settings = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
    settings["VLLM_RPC_BASE_PATH"] = str(files)
    if folder is not None or spec.pull is False:
        settings["HF_HUB_OFFLINE"] = "1"
    if is_built_for_cpu():
        # On a GPU the model must live in a process of its own: pytest never touches CUDA.
        settings["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if cores <= 4:
            # Threads that wait for each other crawl as soon as anything else wants a core.
            settings |= {"OMP_NUM_THREADS": str(max(1, cores // 2)), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    changed = {key: value for key, value in settings.items() if key not in os.environ} | {"TMPDIR": str(files)}
    if spec.visible_devices is not None:
        changed[VISIBLE_DEVICES] = spec.visible_devices
    before = {key: os.environ.get(key) for key in changed}
    os.environ.update(changed)
    try:
        # What vLLM and torch do that is deprecated is not the test's, even where warnings are errors.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def is_built_for_cpu() -> bool:
    """Whether the vLLM of this environment was built for the CPU, found out without importing it."""
    for name in ("vllm", "vllm-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            if name == "vllm-cpu" or "cpu" in importlib.metadata.version(name):
                return True
    return False


def is_on_cpu() -> bool:
    """Whether vLLM computes on the CPU."""
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def engine_arguments(model: str, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Engine arguments as ``vllm.LLM`` takes them, read as vLLM itself reads its command line.

    Raises:
        EngineError: vLLM does not know one of them, or cannot read its value.
    """
    from vllm.engine.arg_utils import EngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    asked = {key: value for key, value in arguments.items() if key not in _OURS}
    kv_bytes = parse_kv_cache_bytes(arguments)
    if kv_bytes is None and is_built_for_cpu():
        kv_bytes = choose_kv_cache_bytes(asked)
    if kv_bytes is not None:
        asked["kv_cache_memory_bytes"] = str(kv_bytes)
    parser = EngineArgs.add_cli_args(FlexibleArgumentParser(prog="vllm"))
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            words = [f"--model={model}"]
            plain = EngineArgs.from_cli_args(parser.parse_args(words))
            read = EngineArgs.from_cli_args(parser.parse_args(words + build_command_line(asked)))
    except SystemExit:
        lines = said.getvalue().strip().splitlines()
        raise EngineError(f"vllm: {lines[-1] if lines else 'an engine argument cannot be read'}") from None
    found = {field.name: getattr(read, field.name) for field in dataclasses.fields(EngineArgs)}
    return {key: value for key, value in found.items() if key == "model" or value != getattr(plain, key)}


def weights_bytes(llm: Any) -> int | None:
    """What the parameters of a model in this process take, those that share memory counted once.

    None if they do not tell: for CPUs with bf16 instructions vLLM packs weights, and leaves parameters empty.
    """
    sizes: list[int | None] = llm.apply_model(_tensor_bytes)
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _tensor_bytes(model: Any) -> int | None:
    storages = [parameter.untyped_storage() for parameter in model.parameters()]
    if not all(storage.nbytes() for storage in storages):
        return None
    sizes: dict[int, int] = {storage.data_ptr(): storage.nbytes() for storage in storages}
    return sum(sizes.values())


def release_memory() -> None:
    """Returns the memory of an engine that was shut down, and has no references left, to the system."""
    from vllm.distributed import cleanup_dist_env_and_memory

    cleanup_dist_env_and_memory()
    gc.collect()
    if sys.platform.startswith("linux"):
        with contextlib.suppress(AttributeError):  # a libc that keeps nothing back has no such function
            ctypes.CDLL(None).malloc_trim(0)
