"""Reads vLLM's log while it starts: what it is doing, why it failed, and sizes that it states nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass

_GIB = 2**30
# Not further than this, since a progress bar may fill a line of any length.
_PERCENT = r"[^\n]{0,200}?\b(\d{1,3})%"
# In any order: what comes last in the log is what it is doing.
_STAGES = (
    (re.compile(r"Resolved architecture"), "starting its processes"),
    (re.compile(r"Fetching \d+ files|\.(?:safetensors|bin|json):" + _PERCENT), "downloading the model"),
    (re.compile(r"Starting to load model|Loading \S{1,100} checkpoint shards:" + _PERCENT), "loading weights"),
    (re.compile(r"Starting torch\.compile|Warming up model for the compilation|Compiling a graph"), "compiling"),
    (re.compile(r"torch\.compile took|Warming up done|Available KV cache memory"), "setting up its KV cache"),
    (re.compile(r"Capturing [^\n:]{0,100}graphs[^\n:]{0,100}:" + _PERCENT), "capturing graphs"),
    (re.compile(r"init engine \("), "opening its API"),
)
_PREFIX = r"^(?:\([^)\n]*\) )?(?:(?:ERROR|CRITICAL) [\d-]+ [\d:]+ \[[^\]\n]*\] )?"
_REASON = re.compile(
    _PREFIX + r"(?:[\w./-]+: error: (?P<usage>.+)|(?:[\w.]+\.)?(?P<error>\w*Error: .+))$", re.MULTILINE
)
_DETAIL = re.compile(_PREFIX + r"  (?:Value error|Assertion failed), (?P<detail>.+?)(?: \[type=.*)?$", re.MULTILINE)
# They say only that something else has failed.
_FOLLOW_UPS = (
    *("Engine core initialization failed", "Worker failed", "WorkerProc initialization failed", "cancelled"),
    *("EngineDeadError", "EngineCore encountered an issue", "Executor failed"),
)
# A process that was killed says nothing itself.
_DIED = re.compile(r"\b(?:(?:Engine core|Worker) proc \S+ died|engine core exited) unexpectedly")
# A number of more digits is none that vLLM states.
_SIZE = r"(\d{1,12}(?:\.\d{1,12})?)"
_WEIGHTS = re.compile(rf"Model loading took {_SIZE} GiB")
_KV_CACHE = re.compile(rf"Available KV cache memory: {_SIZE} GiB")
_WORKERS = re.compile(r"tensor_parallel_size=(\d{1,9})(?!\d), pipeline_parallel_size=(\d{1,9})(?!\d)")
_DEVICE = re.compile(r"device_config=(\w+)")
_DTYPE = re.compile(r"dtype=torch\.(\w+), [^\n]{0,2000}?quantization=(\w+)")


def find_stage(log: str) -> str:
    """What a starting server is doing, with its progress where it states one: ``loading weights (50 %)``."""
    found = [(match.end(), words, match) for pattern, words in _STAGES for match in pattern.finditer(log)]
    if not found:
        return ""
    _, words, match = max(found, key=lambda stage: stage[0])
    percent = match.group(1) if match.re.groups else None
    return words if percent is None else f"{words} ({percent} %)"


def find_reason(log: str) -> str:
    """Why a server ended, in its own words and one line; "" if it gave none."""
    # What was raised last is the most telling: each error says what the ones before it mean.
    for match in reversed(list(_REASON.finditer(log))):
        text = match["usage"] or match["error"]
        if any(words in text for words in _FOLLOW_UPS):
            continue
        # A validation error states in its first line only how many there are.
        detail = _DETAIL.search(log, match.end()) if "validation error" in text else None
        return " ".join((detail["detail"] if detail else text).split())
    died = _DIED.search(log)
    return died[0] if died else ""


@dataclass(frozen=True)
class Startup:
    """What the log of a server that has started says of it; None for what it does not say.

    ``weights_bytes`` and ``kv_bytes`` (of KV cache) are of all ``workers`` together. ``dtype`` is what it computes in,
    "" if its weights are quantized.
    """

    on_cpu: bool = False
    workers: int = 1
    weights_bytes: float | None = None
    kv_bytes: float | None = None
    dtype: str = ""

    @staticmethod
    def read(log: str) -> Startup:
        device, dtype = _DEVICE.search(log), _DTYPE.search(log)
        parallel = _WORKERS.search(log)
        workers = int(parallel[1]) * int(parallel[2]) if parallel else 1
        return Startup(
            on_cpu=device is not None and device[1] == "cpu",
            workers=workers,
            weights_bytes=_of_all(_WEIGHTS.findall(log), workers),
            kv_bytes=_of_all(_KV_CACHE.findall(log), workers),
            dtype=dtype[1] if dtype and dtype[2] == "None" else "",
        )


def _of_all(stated: list[str], workers: int) -> float | None:
    """Each worker states its own, or the first one states it for all, which hold equal parts."""
    if not stated:
        return None
    sizes = [float(text) for text in stated]
    return (sum(sizes) if len(sizes) >= workers else sizes[0] * workers) * _GIB
