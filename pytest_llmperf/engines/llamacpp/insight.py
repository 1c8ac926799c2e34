"""What llama.cpp's server says of itself: sizes of weights, KV cache and slots, in its log while it starts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.insight import Insight
from pytest_llmperf.engines.attached.adapters import list_numbered_adapters
from pytest_llmperf.engines.attached.slots import count_busy_slots
from pytest_llmperf.engines.buffers import MEBIBYTES, is_on_host
from pytest_llmperf.engines.kv_cache.slots import SlotObservation, Slots
from pytest_llmperf.measurement.reading import Missing, Reading
from pytest_llmperf.telemetry.cpu import cpu_device

if TYPE_CHECKING:
    from pytest_llmperf.engines.llamacpp.server import LlamaCppServer

_WEIGHTS = re.compile(rf"load_tensors:\s+(\S+) model buffer size =\s+{MEBIBYTES}")
_KV_CACHE = re.compile(rf"llama_kv_cache\S{{0,40}}: size =\s+{MEBIBYTES}")
_SLOTS = re.compile(r"n_slots = ([1-9]\d{0,8}), n_ctx_slot = ([1-9]\d{0,8}), kv_unified = 'false'")


class LlamaCppInsight(Insight):
    """What a llama.cpp server that was started here states in its log."""

    def __init__(self, server: LlamaCppServer) -> None:
        self._server = server
        self._sizes: dict[str, Reading] = {}
        self._slots: Slots | None = None

    def refresh(self) -> None:
        log = self._server.startup_log
        self._sizes, self._slots = parse_sizes(log), parse_slots(log)
        self.devices = (cpu_device(),) if is_only_on_cpu(log) else ()

    def readings(self) -> dict[str, Reading]:
        """Weights and KV cache as the server stated them while it started."""
        return dict(self._sizes)

    def count_running(self) -> int | Missing:
        busy = count_busy_slots(f"{self._server.base_url.removesuffix('/v1')}/slots")
        return Missing("the server does not tell its slots") if busy is None else busy

    def list_adapters(self) -> dict[str, str]:
        """Those that it was started with, by their numbers."""
        return list_numbered_adapters(self._server.base_url.removesuffix("/v1"))

    def observe(self) -> SlotObservation:
        return SlotObservation(self.readings, self._slots)


def parse_sizes(log: str) -> dict[str, Reading]:
    """``memory.weights`` and ``memory.kv_reserved`` in bytes, as far as the log of a starting server states them."""
    weights = dict(_WEIGHTS.findall(log))
    caches = _KV_CACHE.findall(log)
    found = {}
    if weights:
        found["memory.weights"] = _make_reading(sum(map(float, weights.values())))
    if caches:
        found["memory.kv_reserved"] = _make_reading(sum(map(float, caches)))
    return found


def parse_slots(log: str) -> Slots | None:
    """The slots of a server; None unless its log states them and each has a part of the KV cache for itself.

    A model with several caches does not keep every token in each.
    """
    slots, caches = _SLOTS.search(log), _KV_CACHE.findall(log)
    if slots is None or not caches:
        return None
    number, context = map(int, slots.groups())
    if len(caches) > 1:
        return Slots(context, None, "the model has several KV caches, and does not keep every token in each")
    return Slots(context, float(caches[0]) * 2**20 / (number * context))


def is_only_on_cpu(log: str) -> bool:
    """Whether a starting server put all weights into buffers of the host (``CPU_Mapped``, ``CPU_REPACK``, ``AMX``)."""
    buffers = [name for name, _ in _WEIGHTS.findall(log)]
    return bool(buffers) and all(map(is_on_host, buffers))


def _make_reading(mebibytes: float) -> Reading:
    return Reading(mebibytes * 2**20, "stated by llama.cpp while loading", samples=1)
