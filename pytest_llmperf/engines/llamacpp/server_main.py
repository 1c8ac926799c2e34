"""Serves llama.cpp's own HTTP API from the ``xllamacpp`` wheel, in a process of its own.

``python -m pytest_llmperf.engines.llamacpp.server_main ANNOUNCE SETTINGS``: SETTINGS is a JSON object of the keys in
:data:`SETTINGS`, with ``model``; the server's address is written to the file ANNOUNCE once it answers.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Logs the sizes of weights and KV cache while loading, which the adapter reads.
VERBOSITY = "4"
POOLINGS = ("mean", "cls", "last", "rank")


@dataclass(frozen=True)
class Setting:
    """An engine argument, named as llama-server names it: its default, what it means, and what sets it.

    ``default_text`` is the default for people, where it depends on the machine.
    """

    default: str
    meaning: str
    apply: Callable[[Any, str], None]
    default_text: str = ""


def _set(name: str, convert: Callable[[str], Any] = int) -> Callable[[Any, str], None]:
    return lambda params, value: setattr(params, name, convert(value))


def _threads(params: Any, value: str) -> None:
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(value)


def _pool(params: Any, value: str) -> None:
    if value == "none":
        return
    import xllamacpp

    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type[f"LLAMA_POOLING_TYPE_{value.upper()}"]


def _load_adapters(params: Any, value: str) -> None:
    """Without a word in a request they change nothing."""
    import xllamacpp

    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 1.0) for path in list_adapter_files(value)]
    params.lora_init_without_apply = bool(params.lora_adapters)


def _draft(params: Any, value: str) -> None:
    """Drafts what followed the last two tokens where they came before in the text."""
    if int(value) <= 0:
        return
    import xllamacpp

    params.speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
    drafts = params.speculative.ngram_simple
    drafts.size_n, drafts.size_m, drafts.min_hits = 2, int(value), 1


def list_adapter_files(value: str) -> list[str]:
    """The paths in the setting ``lora``."""
    return [path.strip() for path in value.split(",") if path.strip()]


def count_default_threads() -> str:
    return str(min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


SETTINGS = {
    "ctx_size": Setting("2048", "context size in tokens, shared by all slots", _set("n_ctx")),
    "parallel": Setting("4", "slots, that is requests answered at the same time", _set("n_parallel")),
    "threads": Setting(count_default_threads(), "compute threads", _threads, "one per core, at most 8"),
    "batch_size": Setting("2048", "logical batch size, in tokens", _set("n_batch")),
    "ubatch_size": Setting("512", "physical batch size, in tokens", _set("n_ubatch")),
    "n_gpu_layers": Setting("-1", "layers on the GPU, if the wheel supports one; -1: all", _set("n_gpu_layers")),
    # By default llama.cpp keeps 8 GiB of old prompts, and memory drifts from test to test.
    "cache_ram": Setting("0", "MiB of host memory for a prompt cache", _set("cache_ram_mib")),
    "pooling": Setting(
        "none",
        f"how embeddings are made of tokens: {', '.join(POOLINGS)} (of scores); none: the server embeds nothing",
        _pool,
    ),
    "lora": Setting("", "GGUF files of LoRA adapters, with commas between them", _load_adapters, "none"),
    "ngram_draft": Setting(
        "0", "tokens drafted at a time where the text repeats itself, for speculative decoding; 0: none", _draft
    ),
    "port": Setting("0", "TCP port on 127.0.0.1; 0: a free one", _set("port")),
}


def serve(announce: Path, settings: Mapping[str, str]) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["model"]
    params.model_alias = {settings["alias"]}
    for key, setting in SETTINGS.items():
        setting.apply(params, settings.get(key, setting.default))
    params.endpoint_metrics = params.endpoint_slots = params.endpoint_props = True
    # Slots are never saved, but only a server with a place for that erases one.
    params.slot_save_path = f"{announce.parent}{os.sep}"
    params.ui = False
    params.verbosity = int(VERBOSITY)
    # Blocked before the server's threads start, so that only sigwait ever takes them.
    endings = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, endings)
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        raise SystemExit(f"llama.cpp cannot serve {settings['model']}: {error}") from None
    temporary = announce.with_suffix(".tmp")
    temporary.write_text(server.listening_address, encoding="utf-8")
    temporary.replace(announce)
    signal.sigwait(endings)
    # Destroying the server object can wait for ever on its own thread; the process has nothing left to save.
    os._exit(0)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), json.loads(sys.argv[2]))
