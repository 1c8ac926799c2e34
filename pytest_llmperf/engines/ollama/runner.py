"""The processes below ``ollama serve`` that hold the models: one for each loaded model, a new one at each start."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import psutil

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.lifecycle.http import http_post
from pytest_llmperf.engines.lifecycle.listeners import describe_processes
from pytest_llmperf.engines.ollama.options import NUM_CTX
from pytest_llmperf.telemetry.sources.branch import Branch
from pytest_llmperf.telemetry.sources.host import process_tree
from pytest_llmperf.traffic.answers.json_fields import as_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


_FLAGS = {
    "num_thread": ("-t", "--threads"),
    "num_batch": ("-b", "--batch-size"),
    "main_gpu": ("-mg", "--main-gpu"),
}
# What a server chooses by itself where it was told nothing: a model that has it was not necessarily told to.
_OWN_CHOICES = {("num_batch", 512), ("num_batch", 1024), ("num_batch", 2048), ("use_mmap", False)}


@dataclass(frozen=True)
class Runner:
    """A model's process: ``pid`` and ``started`` tell it from every other, ``arguments`` are its command line."""

    pid: int
    started: float
    arguments: tuple[str, ...]

    def argument(self, *names: str) -> str | None:
        """The value of a command line flag, given by any of its names; None if it is not set."""
        for flag, value in zip(self.arguments, self.arguments[1:], strict=False):
            if flag in names:
                return value
        return None

    @property
    def blob(self) -> str:
        """The name of the model's file."""
        return PurePath(self.argument("--model") or "").name

    @property
    def is_llama_server(self) -> bool:
        """Whether it is llama.cpp's own server (Ollama 0.30 and later), which has counters and states all settings."""
        program = itertools.takewhile(lambda word: not word.startswith("--"), self.arguments)
        return any(PurePath(word).stem == "llama-server" for word in program)

    @property
    def slots(self) -> int | None:
        """How many requests it answers at a time; None if its command line does not say."""
        text = self.argument("-np", "--parallel")
        return int(text) if text and text.isdecimal() else None

    @property
    def cache_types(self) -> tuple[str, str] | None:
        """The types of keys and values in its KV cache; None if its command line does not say."""
        if not self.is_llama_server:
            return None
        return self.argument("--cache-type-k") or "f16", self.argument("--cache-type-v") or "f16"

    @property
    def options(self) -> dict[str, int | bool]:
        """The options it was started with, as far as its command line tells: other ones would start another runner."""
        if not self.is_llama_server:
            return {}
        found: dict[str, int | bool] = {}
        for key, flags in _FLAGS.items():
            text = self.argument(*flags)
            if text and text.isdecimal():
                found[key] = int(text)
        if "--no-mmap" in self.arguments or self.argument("--load-mode") == "none":
            found["use_mmap"] = False
        return found

    @property
    def load_options(self) -> dict[str, int | bool]:
        """Options by which another runner would be started like it, without those that a server chooses by itself."""
        layers = self.argument("-ngl", "--n-gpu-layers") if self.is_llama_server else None
        given = {key: value for key, value in self.options.items() if (key, value) not in _OWN_CHOICES}
        return {**given, **({"num_gpu": int(layers)} if layers and layers.isdecimal() else {})}

    @property
    def url(self) -> str:
        """Where it answers on this host; "" if it has no API of its own."""
        port = self.argument("--port")
        return f"http://127.0.0.1:{port}" if port and self.is_llama_server else ""

    @property
    def metrics_url(self) -> str:
        """The URL of its counters; "" if it has none."""
        return f"{self.url}/metrics" if self.url else ""

    @property
    def slots_url(self) -> str:
        """The URL at which it tells which of its slots are busy; "" if there is none."""
        return self.metrics_url.replace("/metrics", "/slots")

    def empty_slots(self, timeout: float) -> None:
        """Has each of its slots read a prompt of one token in place of its last one.

        Raises:
            EngineError: it does not; the message is a clause.
        """
        try:
            for slot in range(self.slots or 1):
                asked = {"prompt": "A", "n_predict": 1, "cache_prompt": False, "id_slot": slot}
                http_post(f"{self.url}/completion", asked, timeout=timeout)
        except OSError as error:
            raise EngineError(f"its runner did not read another prompt ({error})") from None

    @property
    def alive(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.started and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


@dataclass(frozen=True)
class Loaded:
    """A loaded model: the server's own entry of it, and its process where that can be seen."""

    entry: Mapping[str, Any]
    runner: Runner | None

    @property
    def context(self) -> int:
        return as_count(self.entry.get("context_length")) or 0

    @property
    def options(self) -> dict[str, int | bool]:
        """The options it was loaded with, as far as they can be seen: requests with others would load it again."""
        context = {NUM_CTX: self.context} if self.context else {}
        return {**context, **(self.runner.options if self.runner is not None else {})}

    @property
    def size(self) -> int:
        """All its buffers in bytes, as the server states them."""
        return as_count(self.entry.get("size")) or 0

    @property
    def size_vram(self) -> int:
        """Those of its buffers that the server takes for a GPU's, in bytes."""
        return as_count(self.entry.get("size_vram")) or 0


def find_branches(roots: Iterable[int], file: str) -> tuple[Branch, ...]:
    """What holds a model's memory: the server's own processes, and below them the runners of this file."""
    return tuple(Branch(root, name) for root in roots for name in dict.fromkeys(("", file)))


def explain_missing_runner(model: str, url: str, roots: Sequence[int], file: str) -> str:
    """Why no runner of a model that is loaded is seen below the processes that listen at ``url``, and what to do."""
    if not file:
        return (
            f"which of the processes below {describe_processes(roots)} holds {model} is not known: "
            "the server does not name the model's file"
        )
    return (
        f"no process below {describe_processes(roots)}, which listens at {url}, has the file of {model}: it seems to "
        "forward requests to the server; give the server's own address, on its own host"
    )


def list_runners(roots: Iterable[int]) -> tuple[Runner, ...]:
    """The runners below these processes; empty for a server whose processes cannot be seen."""
    pids = dict.fromkeys(pid for root in roots for pid in process_tree(root) if pid != root)
    return tuple(runner for pid in pids if (runner := _runner(pid)) is not None)


def find_runner(blob: str, found: Sequence[Runner]) -> Runner | None:
    """The runner of the model of this file; if the file is unknown, the only runner there is."""
    mine = [runner for runner in found if runner.blob == blob] if blob else found
    return max(mine, key=lambda runner: runner.started) if blob and mine else mine[0] if len(mine) == 1 else None


def _runner(pid: int) -> Runner | None:
    try:
        process = psutil.Process(pid)
        arguments = tuple(process.cmdline())
        runner = Runner(pid, process.create_time(), arguments)
        return runner if runner.argument("--model") and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None
