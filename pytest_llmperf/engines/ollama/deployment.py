"""One model of an Ollama server that is started here, or runs already."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.deployment import Deployment
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState, EngineStatus
from pytest_llmperf.engines.lifecycle import shared_run
from pytest_llmperf.engines.lifecycle.listeners import parse_address
from pytest_llmperf.engines.ollama.api import OllamaAPI
from pytest_llmperf.engines.ollama.counters import count_template_tokens
from pytest_llmperf.engines.ollama.faults import explain_reload
from pytest_llmperf.engines.ollama.lookup import find_attached_url, find_ollama
from pytest_llmperf.engines.ollama.memory import Footprint, find_stated_kv_bytes, read_shape
from pytest_llmperf.engines.ollama.models import ensure_model, find_gguf_file
from pytest_llmperf.engines.ollama.options import (
    NUM_CTX,
    check_arguments,
    expires,
    parse_keep_alive,
    parse_startup_options,
)
from pytest_llmperf.engines.ollama.requests import NativeTransport
from pytest_llmperf.engines.ollama.runner import (
    Loaded,
    explain_missing_runner,
    find_branches,
    find_runner,
    list_runners,
)
from pytest_llmperf.engines.ollama.server import AttachedOllamaServer, OllamaServer
from pytest_llmperf.engines.ollama.versions import counts_uncached_only
from pytest_llmperf.measurement.units import BYTES, format_value

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.spec import EngineSpec, Progress
    from pytest_llmperf.engines.ollama.memory import Shape
    from pytest_llmperf.telemetry.sources.branch import Branch
    from pytest_llmperf.traffic.client.dialect import Endpoint
    from pytest_llmperf.traffic.client.transport import Transport

_UNLOAD_SECONDS = 30.0
_POLL_SECONDS = 0.02
# A warden lets what a server has started tidy up for a second.
_END_SECONDS = 3.0
# For how long a model that was loaded by us stays on a server that is not ours.
_AFTERWARDS = "5m"


class OllamaDeployment(Deployment):
    """A model by its name, pulled if need be, or made of a GGUF file; without one, the bundled SmolLM2-135M-Instruct.

    Attributes:
        footprint: what the loaded model takes; None before it was loaded.
        unloads: how often it was unloaded because a test wanted that.
        template_tokens: how many tokens its template puts before a message; None if the runner does not tell.
    """

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self._url = find_attached_url(spec)
        self.attached = bool(self._url)
        self._server: OllamaServer | AttachedOllamaServer | None = None
        self._api = OllamaAPI(self._url)
        self._options = parse_startup_options(spec.args)
        self._keep_alive = parse_keep_alive(spec.args)
        self._shape: Shape | None = None
        self._loaded: Loaded | None = None
        self._last_log = ""
        self._was_there = False
        self._unseen = ""
        self.footprint: Footprint | None = None
        self.unloads = 0
        self.template_tokens: int | None = None

    @staticmethod
    def check(spec: EngineSpec) -> None:
        """Refuses settings that cannot work.

        Raises:
            EngineError: naming the option and what would be right.
        """
        url = find_attached_url(spec)
        check_arguments(spec.args, ours=not url)
        find_gguf_file(spec.model)
        if url and spec.binary:
            raise EngineError("ollama with --llmperf-url starts nothing: it takes no --llmperf-engine-bin")
        if url and parse_address(url) is None:
            raise EngineError(f"ollama: {url!r} is not the address of a server: write http://HOST:PORT")
        if not url:
            find_ollama(spec.binary)

    def transport(self, endpoint: Endpoint) -> Transport:
        """The transport over Ollama's own API, with the options that the model is loaded with."""
        return NativeTransport(endpoint.root, self._options, counts_uncached=counts_uncached_only(self.version))

    # ------------------------------------------------------------------------------------------------ start and stop

    def start(self, progress: Progress) -> None:
        self.state = EngineState.STARTING
        asked = {"engine": [str(part) for part in self.spec.key]}
        with shared_run.start_once(self.spec.run, asked):
            self._start(progress)
            # A worker that finds it loaded by another one judges it as that one does.
            found = shared_run.agree(self.spec.run, asked | {"server": self.pids}, [self.startup_time, self.before])
            self.startup_time, self.before = found

    def _start(self, progress: Progress) -> None:
        server = self._server = AttachedOllamaServer(self._url) if self._url else OllamaServer.of(self.spec)
        try:
            seconds = server.add_user(self, progress)
            self.version, self._api = server.version, OllamaAPI(server.url)
            self.base_url = f"{server.url}/v1"
            pull = self.spec.pull if self.spec.pull is not None else not self.attached
            self.model = ensure_model(self._api, self.spec.model, pull=pull, progress=progress)
            self._shape = read_shape(self._api.show(self.model))
            self._refuse_unfit()
            loading = self._start_model(progress)
            self.startup_time = None if self._was_there else seconds + loading
        except BaseException:
            self.stop()
            raise
        stays = f", where it stays for {_AFTERWARDS} after this run" if self.attached else ""
        if not self._was_there:
            progress(f"{self.name}: {self.model} loaded at {server.url} in {loading:.1f} s{stays}")

    def _refuse_unfit(self) -> None:
        """Refuses what only the model's own description tells to be wrong."""
        assert self._shape is not None
        if not self._shape.completes:
            raise EngineError(f"ollama: {self.model} cannot generate text (it may be an embedding model)")
        trained, asked = self._shape.trained_context, self._options[NUM_CTX]
        if trained is not None and asked > trained:
            raise EngineError(
                f"ollama: num_ctx={asked} is more than {self.model} was trained for: its context is {trained} tokens"
            )

    def _start_model(self, progress: Progress) -> float:
        """Loads the model, unless it is loaded with the right options; the seconds that took."""
        assert self._shape is not None
        before = self.look()
        if before is None or before.context != self._options[NUM_CTX]:
            progress(f"{self.name}: loading {self.model}, num_ctx={self._options[NUM_CTX]}")
        begun, log_start = time.monotonic(), self.log_size
        try:
            self._api.start_model(self.model, self._options, self._keep_alive, self.spec.startup_timeout)
        except EngineError as error:
            raise EngineError(f"ollama cannot load {self.model}: {error}", self.log_tail()) from None
        seconds = time.monotonic() - begun
        self._loaded = self.look()
        if self._loaded is None:
            raise EngineError(f"ollama loaded {self.model} but does not list it as loaded")
        self._unseen = ""
        if self._loaded.runner is None and self.pids:
            self._unseen = explain_missing_runner(self.model, self._api.root, self.pids, self._file)
        self._was_there = before is not None and not explain_reload(self.model, before, self._loaded, seconds)
        if not self._was_there or self.footprint is None:
            self.footprint = self._measure(self._loaded, self.read_log(log_start))
        self.template_tokens = count_template_tokens(self._api, self._loaded, self._options)
        self.state = EngineState.READY
        return seconds

    def look(self) -> Loaded | None:
        """The model as it is loaded now; None while it is not.

        Raises:
            EngineError: the server does not answer.
        """
        entries = [entry for entry in self._api.list_loaded() if entry.get("name") == self.model]
        if not entries:
            return None
        if self.state is EngineState.UNLOADED:
            self.state = EngineState.READY  # a request has loaded it again
        assert self._shape is not None
        return Loaded(entries[0], find_runner(self._shape.blob, list_runners(self.pids)))

    def list_beside(self) -> tuple[str, ...]:
        """The other models that its server holds now, each with the size that the server states.

        Raises:
            EngineError: the server does not answer.
        """
        mine = self.look()
        names = {self.model, mine.entry.get("name") if mine is not None else ""}
        return tuple(
            f"{entry['name']} ({format_value(int(entry.get('size') or 0), BYTES)})"
            for entry in self._api.list_loaded()
            if entry.get("name") not in names
        )

    def adopt(self, now: Loaded | None) -> None:
        """Makes the model as it is loaded now, if it is, the one that later tests expect."""
        if now is not None and now.context == self._options[NUM_CTX]:
            self._loaded = now

    def stop(self) -> None:
        self.state = EngineState.ENDED
        server, self._server = self._server, None
        if server is not None:
            self._last_log = server.log_tail()
            self._give_back(server)
            server.remove_user(self)

    def detach(self) -> None:
        server = self._server
        if server is None or self.attached or not self.spec.keep or server.find_end():
            self.stop()
            return
        self.state = EngineState.ENDED
        self._server = None
        server.remove_user(self, detach=True)

    def _give_back(self, server: OllamaServer | AttachedOllamaServer) -> None:
        """Unloads what this engine has loaded from a server that goes on for others."""
        if self._loaded is None or self.spec.run or server.find_end():
            return  # what workers share ends with their server
        try:
            if self.attached and not self._was_there:
                self._api.keep(self.model, _AFTERWARDS)
            elif server.others:
                self.unload()
        except EngineError:
            return  # the server is about to end, or not ours

    # ----------------------------------------------------------------------------------------------- what it is doing

    @property
    def pids(self) -> tuple[int, ...]:
        """``ollama serve``; the models are held by its children."""
        return self._server.pids if self._server is not None else ()

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The server's own process, and the runner of this model."""
        return find_branches(self.pids, self._file)

    def explain_unseen_model(self) -> str:
        return self._unseen

    @property
    def _file(self) -> str:
        """The name of its model's file; "" if it is not known."""
        assert self._shape is not None
        runner = self._loaded.runner if self._loaded is not None else None
        return self._shape.blob or (runner.blob if runner is not None else "")

    def read_status(self) -> EngineStatus:
        if self._server is None:
            return EngineStatus(EngineState.ENDED, f"{self.name} was stopped")
        reason = self._server.find_end()
        if reason:
            return EngineStatus(EngineState.ENDED, reason)
        if self._loaded is None:
            return EngineStatus(self.state)
        if self._server.url != self._api.root:
            return EngineStatus(EngineState.ENDED, f"the server of {self.model} was started again")
        try:
            now = self.look()
        except EngineError as error:
            return EngineStatus(EngineState.ENDED, self._explain_silence(str(error)))
        return self._status_without_model() if now is None else self._status_with(now, self._loaded)

    def _status_without_model(self) -> EngineStatus:
        if self.state is EngineState.UNLOADED or expires(self._keep_alive):
            return EngineStatus(EngineState.UNLOADED, f"{self.name} was left without {self.model}")
        return EngineStatus(EngineState.ENDED, self._explain_eviction())

    def _status_with(self, now: Loaded, before: Loaded) -> EngineStatus:
        if now.runner is None and before.runner is not None and not before.runner.alive:
            ended = f"the runner of {self.model} (pid {before.runner.pid}) has ended"
            return EngineStatus(EngineState.ENDED, ended)
        if explain_reload(self.model, before, now, 0.0):
            return EngineStatus(EngineState.UNLOADED, f"{self.name} was left with {self.model} loaded in another way")
        return EngineStatus(EngineState.READY)

    def _explain_silence(self, symptom: str) -> str:
        """Why the server does not answer: the symptom, or that it has ended, which shows a moment later."""
        deadline = time.monotonic() + _END_SECONDS
        while self._server is not None and time.monotonic() < deadline:
            if reason := self._server.find_end():
                return reason
            time.sleep(_POLL_SECONDS)
        return symptom

    def _explain_eviction(self) -> str:
        others = ", ".join(str(entry.get("name")) for entry in self._api.list_loaded())
        return f"the server has unloaded {self.model} by itself{f' and holds {others}' if others else ''}"

    def wake(self) -> None:
        """Loads its model again, as it was."""
        self._start_model(lambda _: None)

    def unload(self) -> None:
        """Orders the server to unload the model, and waits for it; the next request loads it again."""
        self.state = EngineState.UNLOADED
        self._api.keep(self.model, 0)
        self.wait_until_unloaded(_UNLOAD_SECONDS)

    def wait_until_unloaded(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        runner = self._loaded.runner if self._loaded is not None else None
        while self.look() is not None or (runner is not None and runner.alive):
            if time.monotonic() > deadline:
                raise EngineError(f"ollama has not unloaded {self.model} within {seconds:g} s")
            time.sleep(_POLL_SECONDS)
        self.state = EngineState.UNLOADED
        self.unloads += 1

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
            stated=find_stated_kv_bytes(log),
        )

    def read_log(self, start: int) -> str:
        """What its server has logged beyond the first ``start`` bytes; "" if its log is not seen."""
        return self._server.read_log(start) if self._server is not None else ""

    @property
    def log_size(self) -> int:
        """Bytes of its server's log; 0 if it is not seen."""
        return self._server.log_size if self._server is not None else 0

    def log_tail(self) -> str:
        return self._server.log_tail() if self._server is not None else self._last_log
