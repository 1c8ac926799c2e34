"""The ``ollama`` engine: one model of an Ollama server that is started here, or runs already."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.engine import Engine, EngineError, EngineSpec, Progress
from pytest_llmperf.engines.kv_cache.slots import Slots
from pytest_llmperf.engines.lifecycle import shared_run
from pytest_llmperf.engines.ollama.api import OllamaAPI
from pytest_llmperf.engines.ollama.counters import template_tokens
from pytest_llmperf.engines.ollama.faults import loaded_anew
from pytest_llmperf.engines.ollama.lookup import attached_url, find_ollama
from pytest_llmperf.engines.ollama.memory import Footprint, kv_stated, shape_of
from pytest_llmperf.engines.ollama.models import ensure, gguf_file
from pytest_llmperf.engines.ollama.observation import OllamaObservation
from pytest_llmperf.engines.ollama.options import NUM_CTX, check_arguments, keep_alive, load_options, runs_out
from pytest_llmperf.engines.ollama.requests import NativeTransport, prefix_settings
from pytest_llmperf.engines.ollama.runner import Loaded, runner_of, runners
from pytest_llmperf.engines.ollama.server import AttachedServer, OllamaServer
from pytest_llmperf.engines.ollama.versions import counts_uncached_only
from pytest_llmperf.engines.openai.engine import address_of
from pytest_llmperf.telemetry.cpu import cpu_device
from pytest_llmperf.traffic.client.dialect import Dialect

if TYPE_CHECKING:
    from pytest_llmperf.engines.ollama.memory import Shape
    from pytest_llmperf.measurement.measurement import Reading
    from pytest_llmperf.traffic.client.dialect import Endpoint
    from pytest_llmperf.traffic.client.transport import Transport

_UNLOAD_SECONDS = 30.0
_POLL_SECONDS = 0.02
# A warden lets what a server has started tidy up for a second.
_END_SECONDS = 3.0
# For how long a model that was loaded by us stays on a server that is not ours.
_AFTERWARDS = "5m"


class OllamaEngine(Engine):
    """A model by its name, pulled if need be, or made of a GGUF file; without one, the bundled SmolLM2-135M-Instruct.

    ``unloads`` counts how often it was unloaded because a test wanted that. ``template_tokens`` is how many its
    template puts before a message, None where the runner does not tell.
    """

    name = "ollama"

    @classmethod
    def check(cls, spec: EngineSpec) -> None:
        url = attached_url(spec)
        check_arguments(spec.args, ours=not url)
        gguf_file(spec.model)
        if url and spec.binary:
            raise EngineError("ollama with --llmperf-url starts nothing: it takes no --llmperf-engine-bin")
        if url and address_of(url) is None:
            raise EngineError(f"ollama: {url!r} is not the address of a server: write http://HOST:PORT")
        if not url:
            find_ollama(spec.binary)

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self._url = attached_url(spec)
        self._server: OllamaServer | AttachedServer | None = None
        self._api = OllamaAPI(self._url)
        self._options = load_options(spec.args)
        self._keep_alive = keep_alive(spec.args)
        self._shape: Shape | None = None
        self._loaded: Loaded | None = None
        self._footprint: Footprint | None = None
        self._last_log = ""
        self._was_there = False
        self._unloaded = False
        self.unloads = 0
        self.template_tokens: int | None = None
        self.dialect = Dialect(prefix_settings=prefix_settings, transport=self._transport)

    @property
    def attached(self) -> bool:
        return bool(self._url)

    def _transport(self, endpoint: Endpoint) -> Transport:
        return NativeTransport(endpoint.root, self._options, counts_uncached=counts_uncached_only(self.version))

    def observe(self) -> OllamaObservation:
        return OllamaObservation(self)

    # ------------------------------------------------------------------------------------------------ start and stop

    def start(self, progress: Progress) -> None:
        asked = {"engine": [str(part) for part in self.spec.key]}
        with shared_run.starting(self.spec.run, asked):
            self._start(progress)
            # Who finds it loaded by another worker judges it as that one does.
            found = shared_run.agreed(self.spec.run, asked | {"server": self.pids}, [self.startup_time, self.before])
            self.startup_time, self.before = found

    def _start(self, progress: Progress) -> None:
        server = self._server = AttachedServer(self._url) if self._url else OllamaServer.of(self.spec)
        try:
            seconds = server.join(self, progress)
            self.version, self._api = server.version, OllamaAPI(server.url)
            self.base_url = f"{server.url}/v1"
            pull = self.spec.pull if self.spec.pull is not None else not self.attached
            self.model = ensure(self._api, self.spec.model, pull=pull, progress=progress)
            self._shape = shape_of(self._api.show(self.model))
            self._refuse()
            loading = self._load(progress)
            self.startup_time = None if self._was_there else seconds + loading
        except BaseException:
            self.stop()
            raise
        stays = f", where it stays for {_AFTERWARDS} after this run" if self.attached else ""
        if not self._was_there:
            progress(f"{self.name}: {self.model} loaded at {server.url} in {loading:.1f} s{stays}")

    def _refuse(self) -> None:
        """What only the model's own description can tell."""
        assert self._shape is not None
        if not self._shape.completes:
            raise EngineError(f"ollama: {self.model} answers no prompts: it is a model for something else")
        trained, asked = self._shape.trained_context, self._options[NUM_CTX]
        if trained is not None and asked > trained:
            raise EngineError(
                f"ollama: num_ctx={asked} is more than {self.model} was trained for: its context is {trained} tokens"
            )

    def _load(self, progress: Progress) -> float:
        """Loads the model, unless it is loaded as it shall be; the seconds it took."""
        assert self._shape is not None
        before = self.look()
        if before is None or before.context != self._options[NUM_CTX]:
            progress(f"{self.name}: loading {self.model}, num_ctx={self._options[NUM_CTX]}")
        begun, log_start = time.monotonic(), self.log_size()
        try:
            self._api.load(self.model, self._options, self._keep_alive, self.spec.startup_timeout)
        except EngineError as error:
            raise EngineError(f"ollama cannot load {self.model}: {error}", self.log_tail()) from None
        seconds = time.monotonic() - begun
        self._loaded = self.look()
        if self._loaded is None:
            raise EngineError(f"ollama has loaded {self.model}, and does not list it among what is loaded")
        self._was_there = before is not None and not loaded_anew(self.model, before, self._loaded, seconds)
        if not self._was_there or self._footprint is None:
            self._footprint = self._measure(self._loaded, self.log_since(log_start))
        self.computes_on_gpu = self._loaded.offload > 0
        self.devices = () if self.computes_on_gpu else (cpu_device(),)
        self.template_tokens = template_tokens(self._api, self._loaded, self._options)
        return seconds

    def look(self) -> Loaded | None:
        """The model as it is loaded now, None while it is not.

        Raises:
            EngineError: the server does not answer.
        """
        entries = [entry for entry in self._api.loaded() if entry.get("name") == self.model]
        if not entries:
            return None
        self._unloaded = False
        assert self._shape is not None
        return Loaded(entries[0], runner_of(self._shape.blob, runners(self.pids)))

    def adopt(self, now: Loaded | None) -> None:
        """Takes the model as it is loaded now for the one that later tests shall find, if it is."""
        if now is not None and now.context == self._options[NUM_CTX]:
            self._loaded = now

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            self._last_log = server.log_tail()
            self._give_back(server)
            server.part(self)

    def restart(self, progress: Progress = lambda _: None) -> None:
        if self.attached:
            raise EngineError(f"the server at {self._url} was not started here: it is not restarted either")
        super().restart(progress)

    def leave(self) -> None:
        server = self._server
        if server is None or self.attached or not self.spec.keep or server.gone():
            self.stop()
            return
        self._server = None
        server.part(self, leave=True)

    def _give_back(self, server: OllamaServer | AttachedServer) -> None:
        """What this engine has loaded, where the server goes on for others."""
        if self._loaded is None or self.spec.run or server.gone():
            return  # what workers share goes with their server
        try:
            if self.attached and not self._was_there:
                self._api.keep(self.model, _AFTERWARDS)
            elif server.others:
                self._unload()
        except EngineError:
            return  # the server is about to end, or not ours

    # ----------------------------------------------------------------------------------------------- what it is doing

    @property
    def pids(self) -> tuple[int, ...]:
        """``ollama serve``; the models are held by its children."""
        return self._server.pids if self._server is not None else ()

    def gone(self) -> str:
        if self._server is None:
            return f"{self.name} was stopped"
        reason = self._server.gone()
        if reason or self._loaded is None:
            return reason
        if self._server.url != self._api.root:
            return f"the server of {self.model} was started afresh"
        try:
            now = self.look()
        except EngineError as error:
            return self._why_silent(str(error))
        if now is None:
            return "" if self._unloaded or runs_out(self._keep_alive) else self._evicted()
        runner = self._loaded.runner
        if now.runner is None and runner is not None and not runner.alive:
            return f"the runner of {self.model} (pid {runner.pid}) has ended"
        return ""

    def _why_silent(self, symptom: str) -> str:
        """That it has ended, where it has: that is seen a moment after it no longer answers."""
        deadline = time.monotonic() + _END_SECONDS
        while self._server is not None and time.monotonic() < deadline:
            if reason := self._server.gone():
                return reason
            time.sleep(_POLL_SECONDS)
        return symptom

    def _evicted(self) -> str:
        others = ", ".join(str(entry.get("name")) for entry in self._api.loaded())
        return f"the server has unloaded {self.model} by itself{f' and holds {others}' if others else ''}"

    def lapse(self) -> str:
        if self._loaded is None:
            return ""
        now = self.look()
        if now is None:
            return f"was left without {self.model}; loading it again"
        changed = loaded_anew(self.model, self._loaded, now, 0.0)
        return f"was left with {self.model} loaded anew; loading it as it was" if changed else ""

    def wake(self) -> None:
        """Loads its model again."""
        self._load(lambda _: None)

    def _unload(self) -> None:
        self._unloaded = True
        self._api.keep(self.model, 0)
        self._wait_until_unloaded(_UNLOAD_SECONDS)

    def _wait_until_unloaded(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        runner = self._loaded.runner if self._loaded is not None else None
        while self.look() is not None or (runner is not None and runner.alive):
            if time.monotonic() > deadline:
                raise EngineError(f"ollama has not unloaded {self.model} within {seconds:g} s")
            time.sleep(_POLL_SECONDS)
        self._unloaded = True
        self.unloads += 1

    def slots(self) -> Slots:
        """What its requests have for their tokens."""
        return self._footprint.requests_have() if self._footprint else Slots(0, None, "the model was not loaded")

    def readings(self) -> dict[str, Reading]:
        """Weights, KV cache and offload of the loaded model."""
        return self._footprint.readings() if self._footprint else {}

    def _measure(self, loaded: Loaded, log: str) -> Footprint:
        assert self._shape is not None
        assert self._server is not None
        runner, server = loaded.runner, self._server
        return Footprint(
            self._shape,
            self._options[NUM_CTX],
            slots=(runner.slots if runner is not None else None) or server.slots,
            cache_types=(runner.cache_types if runner is not None else None) or server.cache_types,
            offload=loaded.offload,
            stated=kv_stated(log),
        )

    def log_since(self, start: int) -> str:
        return self._server.log_since(start) if self._server is not None else ""

    def log_size(self) -> int:
        return self._server.log_size() if self._server is not None else 0

    def log_tail(self) -> str:
        return self._server.log_tail() if self._server is not None else self._last_log
