"""One model of an Ollama server that is started here, or runs already."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.api.deployment import Deployment
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState, EngineStatus
from pytest_llmperf.engines.bundled_model import find_bundled_path
from pytest_llmperf.engines.lifecycle import shared_run
from pytest_llmperf.engines.lifecycle.attached_deployment import check_url
from pytest_llmperf.engines.lifecycle.http import http_post, parse_tokens
from pytest_llmperf.engines.lifecycle.listeners import parse_address
from pytest_llmperf.engines.ollama.api import NotFoundError, OllamaAPI
from pytest_llmperf.engines.ollama.cleanup.found import FoundModel
from pytest_llmperf.engines.ollama.cleanup.process import Cleanup
from pytest_llmperf.engines.ollama.counters import Counts, count_template_tokens
from pytest_llmperf.engines.ollama.faults import explain_reload
from pytest_llmperf.engines.ollama.lookup import find_attached_url, find_ollama
from pytest_llmperf.engines.ollama.memory import Footprint, find_stated_kv_bytes, read_offload, read_shape
from pytest_llmperf.engines.ollama.models import (
    derive_model,
    ensure_model,
    find_gguf_file,
    find_manifest,
    name_derived,
    read_model_facts,
)
from pytest_llmperf.engines.ollama.options import (
    CACHE_RAM,
    DEFAULTS,
    FOR_EVER,
    KEEP_ALIVE,
    NUM_CTX,
    check_arguments,
    expires,
    parse_keep_alive,
    parse_startup_options,
    read_parameters,
)
from pytest_llmperf.engines.ollama.requests import native_api
from pytest_llmperf.engines.ollama.runner import (
    Loaded,
    explain_missing_runner,
    find_branches,
    find_runner,
    list_runners,
)
from pytest_llmperf.engines.ollama.server import (
    AttachedOllamaServer,
    OllamaServer,
    find_default_context,
    find_default_context_of,
)
from pytest_llmperf.engines.ollama.versions import counts_uncached_only
from pytest_llmperf.engines.vocabulary.file_tokenizer import FileTokenizer
from pytest_llmperf.measurement.units import BYTES, format_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_llmperf.engines.api.model_facts import ModelFacts
    from pytest_llmperf.engines.api.spec import EngineSpec, Progress
    from pytest_llmperf.engines.ollama.memory import Shape
    from pytest_llmperf.telemetry.sources.branch import Branch
    from pytest_llmperf.traffic.client.api import HttpApi
    from pytest_llmperf.traffic.client.dialect import Endpoint

_UNLOAD_SECONDS = 30.0
_POLL_SECONDS = 0.02
# A warden lets what a server has started tidy up for a second.
_END_SECONDS = 3.0
_EMPTY_SECONDS = 60.0
# For how long a model that was loaded for tests stays after each request on a server that is not ours, in seconds: a
# run that is killed with all its processes leaves it for that time.
_ATTACHED_KEEP_ALIVE = 600


class OllamaDeployment(Deployment):
    """A model by its name, pulled if need be, or made of a GGUF file; without one, the bundled SmolLM2-135M-Instruct.

    On a server that is not ours, what runs there is used as it is, and held so again in the end. What was not loaded is
    loaded, and unloaded in the end; what had to go for it is loaded again. Options that were asked for, and those of
    what runs, are those of a model derived from the one that was named: requests of the OpenAI API cannot say them. It
    is deleted in the end.

    Attributes:
        footprint: what the loaded model takes; None before it was loaded.
        unloads: how often it was unloaded because a test wanted that.
        own_counts: the tokens of what was sent to empty its prompt cache.
        template_tokens: how many tokens its template puts before a message; None if the runner does not tell.
    """

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self._url = find_attached_url(spec)
        self.attached = bool(self._url)
        self._server: OllamaServer | AttachedOllamaServer | None = None
        self._api = OllamaAPI(self._url)
        self._asked = parse_startup_options(spec.args)
        self._keep_alive = parse_keep_alive(spec.args, str(_ATTACHED_KEEP_ALIVE) if self.attached else FOR_EVER)
        # What the model runs with, as far as that is known: clients hold this very object.
        self._options: dict[str, Any] = {}
        self._token = secrets.token_hex(4)
        self._source = ""
        self._shape: Shape | None = None
        self._parameters: Mapping[str, Any] = {}
        self._loaded: Loaded | None = None
        # The files of what was seen loaded, by the digests of the models.
        self._blobs: dict[str, str] = {}
        self._last_log = ""
        self._was_there = False
        self._unseen = ""
        self._cleanup: Cleanup | None = None
        self._progress: Progress = lambda _: None
        self.footprint: Footprint | None = None
        self.unloads = 0
        self.own_counts = Counts(0, 0, 0)
        self.template_tokens: int | None = None
        self._tokenizer: FileTokenizer | None = None

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
        if spec.url:
            check_url(spec.url)
        if url and parse_address(url) is None:
            raise EngineError(f"ollama: {url!r} is not the address of a server: write http://HOST:PORT")
        if not url:
            find_ollama(spec.binary)

    def api(self, endpoint: Endpoint) -> HttpApi:
        """Ollama's own API, with the options that the model runs with."""
        return native_api(endpoint.root, self._options, counts_uncached=counts_uncached_only(self.version))

    def list_tokens(self, _: Endpoint, text: str) -> list[int]:
        """The ids of the tokens of a text as a prompt, special ones included, as the model splits it.

        Its runner tells, or the vocabulary of its file, where that is on this host.

        Raises:
            OSError: neither can be asked from here.
        """
        if self._tokenizer is None:
            with suppress(OSError):
                return self._ask_runner(text)
            file = self._find_model_file()
            if file is None:
                raise ConnectionError(
                    f"the runner of {self.shown_model} cannot be asked from here, and its file is not on this host"
                )
            self._tokenizer = FileTokenizer(file)
        return self._tokenizer.list_tokens(text)

    def _ask_runner(self, text: str) -> list[int]:
        runner = self._loaded.runner if self._loaded is not None else None
        if runner is None or not runner.alive:
            now = self.look()
            runner = now.runner if now is not None else None
        if runner is None or not runner.url:
            raise ConnectionError(f"the runner of {self.shown_model} cannot be asked from here")
        answer = http_post(f"{runner.url}/tokenize", {"content": text, "add_special": True})
        return parse_tokens(answer)

    def _find_model_file(self) -> Path | None:
        """The model's GGUF file on this host: the one that was asked for, or that of the server's store."""
        asked = find_gguf_file(self.spec.model) if self.spec.model is not None else find_bundled_path()
        stored = Path(self._shape.path) if self._shape is not None and self._shape.path else None
        return next((file for file in (asked, stored) if file is not None and os.access(file, os.R_OK)), None)

    @property
    def _completes(self) -> bool:
        """Whether it generates text; a model for embeddings does not."""
        return self._shape is None or self._shape.completes

    @property
    def shown_model(self) -> str:
        return self._source or self.model

    @property
    def wanted(self) -> Mapping[str, Any]:
        """The options that the model is to be loaded with: those that were asked for, on our servers with a context."""
        if self.attached or NUM_CTX in self._asked:
            return self._asked
        # The same on each server, whatever it was started for.
        return {**self._asked, NUM_CTX: self._parameters.get(NUM_CTX, find_default_context())}

    @property
    def blob(self) -> str:
        """The name of the model's file, by which the server knows what it has loaded; "" before that is known."""
        return self._shape.blob if self._shape is not None else ""

    def read_model_facts(self) -> ModelFacts:
        """Those of the model that was asked for: one derived of it differs by its options only."""
        shown = self._api.show(self._source)
        return read_model_facts(self._source, self._api.models(), shown, self.blob)

    def read_warmup(self) -> float | None:
        return self._server.read_warmup(self.model) if isinstance(self._server, OllamaServer) else None

    def note_warmup(self, seconds: float) -> None:
        if isinstance(self._server, OllamaServer):
            self._server.note_warmup(seconds, self.model)

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
        self._progress = progress
        server = AttachedOllamaServer(self._url) if self._url else OllamaServer.of(self.spec)
        try:
            seconds = self._join(server, progress)
            if self.attached:
                self._cleanup = Cleanup(server.url)
            self._find_model(progress)
            if not self.attached and any(u.blob == self.blob and u.wanted != self.wanted for u in server.users):
                # A server holds a file once, and would load it again for each request of the other engine.
                server.remove_user(self)
                server = OllamaServer.of(self.spec, self.wanted)
                seconds += self._join(server, progress)
            if turns := server.explain_turns():
                progress(f"{self.name}: {turns}")
            self._give_options(progress)
            loading = self._start_model(progress)
            self.startup_time = None if self._was_there else seconds + loading
        except BaseException as error:
            if isinstance(error, EngineError):
                error.log_path = error.log_path or self.keep_log()
            self.stop()
            raise
        stays = " for this run" if self.attached else ""
        if not self._was_there:
            progress(f"{self.name}: {self.shown_model} loaded at {server.url} in {loading:.1f} s{stays}")

    def _join(self, server: OllamaServer | AttachedOllamaServer, progress: Progress) -> float:
        """Uses this server from now on; the seconds that it took to start it."""
        self._server = server
        seconds = server.add_user(self, progress)
        self.version, self._api = server.version, OllamaAPI(server.url)
        self.base_url = f"{server.url}/v1"
        return seconds

    def _find_model(self, progress: Progress) -> None:
        """Finds the model on the server, or brings it there."""
        pull = self.spec.pull if self.spec.pull is not None else not self.attached
        note_new = self._cleanup.note_new if self._cleanup is not None else lambda _: None
        self._source = ensure_model(self._api, self.spec.model, pull=pull, progress=progress, note_new=note_new)
        self.model = self._source
        shown = self._api.show(self._source)
        self._shape, self._parameters = read_shape(shown), read_parameters(shown)
        if not (self._shape.completes or self._shape.embeds):
            raise EngineError(f"ollama: {self._source} generates neither text nor embeddings")
        trained, asked = self._shape.trained_context, self._asked.get(NUM_CTX)
        if trained is not None and asked is not None and asked > trained:
            raise EngineError(
                f"ollama: num_ctx={asked} is more than {self._source} was trained for: its context is {trained} tokens"
            )

    def _give_options(self, progress: Progress) -> None:
        """Derives a model with the options of what runs, or those asked for, unless every request has them anyway."""
        running = self.look() if self.attached else None
        if running is not None:
            self._refuse_to_reload(running)
            if self._is_loaded_for_tests(running):
                running = None
        options = self._find_missing_options(running)
        self._cleanup = self._cleanup or (Cleanup(self._api.root) if options else None)
        if running is not None:
            assert self._cleanup is not None
            self._cleanup.note_found(_list_found([running]))
        if options:
            self._derive(options, running, progress)

    def _find_missing_options(self, running: Loaded | None) -> dict[str, Any]:
        """The options that a request would have to say, to be answered by what somebody else has loaded if it is."""
        assert self._server is not None
        assert self._shape is not None
        context, has = self._server.default_context, {**self._parameters}
        if running is not None:
            context = find_default_context_of(running, self.pids, self._shape.trained_context)
            has = {**DEFAULTS, **has}
        if context is not None:
            has = {NUM_CTX: context, **has}
        wanted = {**(running.options if running is not None else {}), **self.wanted}
        missing = {key: value for key, value in wanted.items() if has.get(key) != value}
        # What a server has chosen by itself looks as what it was told to: said as well, it fits in either case.
        return wanted if missing and running is not None else missing

    def _derive(self, options: Mapping[str, Any], running: Loaded | None, progress: Progress) -> None:
        assert self._server is not None
        assert self._cleanup is not None
        self.model = name_derived(self._source, self._token)
        folder = self._server.models_folder
        self._cleanup.note_new(self.model, str(find_manifest(folder, self.model)) if folder is not None else "")
        if running is not None:
            self._cleanup.note_load(self.model, None)  # by a request, if its user unloads it meanwhile
        try:
            derive_model(self._api, self._source, self.model, options)
        except EngineError as error:
            if self._asked:
                raise
            self.model = self._source
            progress(f"{self.name}: {error}: a request that does not say how {self._source} runs may load it again")

    def _refuse_to_reload(self, running: Loaded) -> None:
        """Refuses what would change a model that somebody else has loaded.

        Raises:
            EngineError: naming what runs and what would change it.
        """
        ours = self._is_loaded_for_tests(running)
        if KEEP_ALIVE in self.spec.args and not ours:
            raise EngineError(
                f"ollama: {self._source} is loaded at {self._url} already, for as long as its user asked for: "
                f"leave out keep_alive={self.spec.args[KEEP_ALIVE]}"
            )
        known = running.options
        for key, value in self._asked.items():
            if known.get(key) != value and (key in known or not ours):
                runs = f" with {key}={known[key]}" if key in known else ""
                raise EngineError(
                    f"ollama: {self._source} is loaded at {self._url} already{runs}, and {key}={value} would load it "
                    f"again for all its users: leave it out, or unload the model first (ollama stop {self._source})"
                )

    def _is_loaded_for_tests(self, running: Loaded) -> bool:
        return self._cleanup is not None and running.entry.get("name") in self._cleanup.loads

    def _start_model(self, progress: Progress) -> float:
        """Loads the model, unless it is loaded with the right options; the seconds that took."""
        before = self.look()
        begun, log_start = time.monotonic(), self.log_size
        if before is None or not self.attached:
            self._load(before, progress)
        seconds = time.monotonic() - begun
        now = self.look()
        if now is None:
            raise EngineError(f"ollama loaded {self.shown_model} but does not list it as loaded")
        self._unseen = ""
        if now.runner is None and self.pids:
            self._unseen = explain_missing_runner(self.shown_model, self._api.root, self.pids, self._file)
        self._was_there = before is not None and not explain_reload(self.shown_model, before, now, seconds)
        self._expect(now, self.read_log(log_start))
        if self._completes:
            self.template_tokens = count_template_tokens(self._api, self.model, now, self._options)
        self.state = EngineState.READY
        return seconds

    def _load(self, before: Loaded | None, progress: Progress) -> None:
        asked = self._asked.get(NUM_CTX)
        if before is None or (asked is not None and before.context != asked):
            progress(f"{self.name}: loading {self.shown_model}{f', num_ctx={asked}' if asked is not None else ''}")
        options: Mapping[str, Any] = {}
        if self.attached:
            # One that was there before and has gone since comes back with the context that it had.
            options = {key: value for key, value in self._options.items() if key == NUM_CTX}
            assert self._cleanup is not None
            self._cleanup.note_load(self.model, None if KEEP_ALIVE in self.spec.args else _ATTACHED_KEEP_ALIVE)
        others = self._list_others() if self.attached else []
        if self._cleanup is not None:
            self._cleanup.note_found(_list_found(others), evicted=True)
        try:
            start = self._api.start_model if self._completes else self._api.start_embedder
            start(self.model, options, self._keep_alive, self.spec.startup_timeout)
        except EngineError as error:
            raise EngineError(f"ollama cannot load {self.shown_model}: {error}", self.log_tail()) from None
        self._tell_evicted({str(loaded.entry.get("name")) for loaded in others}, progress)

    def _tell_evicted(self, others: set[str], progress: Progress) -> None:
        """Says which of these models were put out by the load of this one."""
        if not others:
            return
        stayed = others & {str(entry.get("name")) for entry in self._api.list_loaded()}
        assert self._cleanup is not None
        self._cleanup.note_stayed(stayed)
        if gone := others - stayed:
            names = ", ".join(sorted(gone))
            progress(f"{self.name}: the server at {self._url} has unloaded {names} to load {self.shown_model}")

    def _list_others(self) -> list[Loaded]:
        """The other models that its server holds now, with their processes where they are seen."""
        runners = list_runners(self.pids)
        others = [entry for entry in self._api.list_loaded() if not self._is_ours(entry)]
        files = [self._blobs.get(str(entry.get("digest")), "") for entry in others]
        return [
            Loaded(entry, find_runner(file, runners) if file else None)
            for entry, file in zip(others, files, strict=True)
        ]

    def _expect(self, now: Loaded, log: str = "") -> None:
        """Makes the model as it is loaded now the one that later tests expect."""
        known = now.options if self.attached and self._was_there else {}
        context = {NUM_CTX: now.context} if now.context else {}
        self._options.clear()
        self._options.update({**known, **self._asked, **context})
        same = self._loaded is not None and self._loaded.runner == now.runner and self._loaded.context == now.context
        self._loaded = now
        if self.footprint is None or not same:
            self.footprint = self._measure(now, log)

    def look(self) -> Loaded | None:
        """The model as it is loaded now, under whatever name; None while it is not.

        Raises:
            EngineError: the server does not answer.
        """
        entry = next(filter(self._is_ours, self._api.list_loaded()), None)
        if entry is None:
            return None
        if self.state is EngineState.UNLOADED:
            self.state = EngineState.READY  # a request has loaded it again
        return Loaded(entry, find_runner(self.blob, list_runners(self.pids)))

    def _is_ours(self, entry: Mapping[str, Any]) -> bool:
        """Whether an entry of what is loaded is of our model: two names of one file are one model."""
        name, digest = str(entry.get("name")), str(entry.get("digest"))
        if name in (self.model, self._source):
            return True
        if digest not in self._blobs:
            self._blobs |= {listed: self.blob for name, listed in self._api.models().items() if name == self.model}
        if digest not in self._blobs:
            try:
                self._blobs[digest] = read_shape(self._api.show(name)).blob
            except NotFoundError:
                self._blobs[digest] = ""  # it was deleted, and is still loaded
        return bool(self.blob) and self._blobs[digest] == self.blob

    def list_beside(self) -> tuple[str, ...]:
        """The other models that its server holds now, each with the size that the server states.

        Raises:
            EngineError: the server does not answer.
        """
        return tuple(
            f"{entry['name']} ({format_value(int(entry.get('size') or 0), BYTES)})"
            for entry in self._api.list_loaded()
            if not self._is_ours(entry)
        )

    def is_as_expected(self, now: Loaded | None) -> bool:
        """Whether the model is not loaded now, or has the context that it is to have."""
        return now is None or (self._loaded is not None and now.context == self._loaded.context)

    def adopt(self, now: Loaded | None) -> None:
        """Makes the model as it is loaded now, if it is, the one that later tests expect."""
        if now is not None and self.is_as_expected(now):
            self._loaded = now

    def stop(self) -> None:
        self.state = EngineState.ENDED
        self._close_tokenizer()
        server, self._server = self._server, None
        if server is not None:
            self._last_log = server.log_tail()
            self._give_back(server)
            self._clean_up()
            server.remove_user(self)

    def detach(self) -> None:
        server = self._server
        if server is None or self.attached or not self.spec.keep or server.find_end():
            self.stop()
            return
        self.state = EngineState.ENDED
        self._close_tokenizer()
        self._server = None
        self._clean_up()
        server.remove_user(self, detach=True)

    def _close_tokenizer(self) -> None:
        if self._tokenizer is not None:
            self._tokenizer.close()
            self._tokenizer = None

    def _give_back(self, server: OllamaServer | AttachedOllamaServer) -> None:
        """Unloads what this engine has loaded from a server of ours that goes on for others."""
        others = [user for user in server.users if user is not self]
        if self._loaded is None or self.attached or self.spec.run or not others or server.find_end():
            return  # what workers share ends with their server
        if any(user.blob == self.blob for user in others):
            return
        try:
            self.unload()
        except EngineError:
            return  # the server is about to end

    def _clean_up(self) -> None:
        """Undoes what was made, and on a server that is not ours also what was loaded."""
        cleanup, self._cleanup = self._cleanup, None
        failure = cleanup.finish() if cleanup is not None else ""
        for line in cleanup.restored if cleanup is not None else ():
            self._progress(f"{self.name}: {line}")
        if failure:
            self._progress(f"{self.name}: the server at {self._api.root} is not as it was before the tests: {failure}")

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
        if self.state is EngineState.UNLOADED or self.attached or expires(self._keep_alive):
            return EngineStatus(EngineState.UNLOADED, f"{self.name} was left without {self.shown_model}")
        if self.takes_turns:
            return EngineStatus(EngineState.UNLOADED, self._explain_eviction())
        return EngineStatus(EngineState.ENDED, self._explain_eviction())

    def _status_with(self, now: Loaded, before: Loaded) -> EngineStatus:
        if now.runner is None and before.runner is not None and not before.runner.alive:
            ended = f"the runner of {self.shown_model} (pid {before.runner.pid}) has ended"
            return EngineStatus(EngineState.ENDED, ended)
        if explain_reload(self.shown_model, before, now, 0.0):
            if self.attached and not self._asked:
                self._expect(now)  # it is used as its users have it
                return self._renew_options(now)
            left = f"{self.name} was left with {self.shown_model} loaded in another way"
            return EngineStatus(EngineState.ENDED if self.attached else EngineState.UNLOADED, left)
        return EngineStatus(EngineState.READY)

    def _renew_options(self, now: Loaded) -> EngineStatus:
        """Gives the derived model, if there is one, the options of what runs now."""
        try:
            if self.model != self._source:
                derive_model(self._api, self._source, self.model, now.options)
        except EngineError as error:
            return EngineStatus(EngineState.ENDED, str(error))
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
        return f"the server has unloaded {self.shown_model} by itself{f' and holds {others}' if others else ''}"

    @property
    def takes_turns(self) -> bool:
        """Whether the models of this run put each other out: the server was told to hold fewer than are used."""
        return self._server is not None and bool(self._server.explain_turns())

    @property
    def shares_model(self) -> bool:
        """Whether another engine of this run asks the same model of the same server, maybe by another name."""
        users = self._server.users if self._server is not None else ()
        return any(user is not self and user.blob == self.blob for user in users)

    def wake(self) -> None:
        """Loads its model again, as it was."""
        self._start_model(lambda _: None)

    def empty_prompt_cache(self) -> None:
        """Has each slot of the runner read another prompt, of one token, in place of its last one.

        Raises:
            EngineError: the server is not ours, or keeps more than these prompts; the message is a clause.
        """
        if self.attached:
            raise EngineError("others use the server")
        if self.spec.args.get(CACHE_RAM, "0") != "0":
            raise EngineError(f"it keeps old prompts ({CACHE_RAM}={self.spec.args[CACHE_RAM]})")
        now = self.look()
        if now is None or not self._completes:
            return  # without a prompt that could have stayed
        before = Counts.of(now)
        if now.runner is not None and now.runner.url:
            now.runner.empty_slots(_EMPTY_SECONDS)
        else:
            self._empty_only_slot(now)
        after = Counts.of(now)
        if before is not None and after is not None:
            self.own_counts = self.own_counts.plus(after.since(before))

    def _empty_only_slot(self, now: Loaded) -> None:
        """Has a runner without an API of its own read another prompt."""
        slots = now.runner.slots if now.runner is not None else None
        if slots != 1:
            raise EngineError("it has several slots, each with a prompt" if slots else "its slots are not known")
        options = {**self._options, "num_predict": 1}
        self._api.generate({"model": self.model, "prompt": "A", "raw": True, "options": options}, _EMPTY_SECONDS)

    def unload(self) -> None:
        """Orders the server to unload the model, and waits for it; the next request loads it again.

        Raises:
            EngineError: somebody else has loaded it, or it is not unloaded in time.
        """
        loaded = self._loaded
        if self.attached and self._was_there and loaded is not None and not self._is_loaded_for_tests(loaded):
            raise EngineError(
                f"ollama: {self.shown_model} was loaded at {self._url} before the tests: it is left alone"
            )
        self.state = EngineState.UNLOADED
        self._api.unload(self.model)
        self.wait_until_unloaded(_UNLOAD_SECONDS)

    def wait_until_unloaded(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        runner = self._loaded.runner if self._loaded is not None else None
        while self.look() is not None or (runner is not None and runner.alive):
            if time.monotonic() > deadline:
                raise EngineError(f"ollama has not unloaded {self.shown_model} within {seconds:g} s")
            time.sleep(_POLL_SECONDS)
        self.state = EngineState.UNLOADED
        self.unloads += 1

    def _measure(self, loaded: Loaded, log: str) -> Footprint:
        assert self._shape is not None
        assert self._server is not None
        runner, server = loaded.runner, self._server
        return Footprint(
            self._shape,
            loaded.context,
            slots=(runner.slots if runner is not None else None) or server.slots,
            cache_types=(runner.cache_types if runner is not None else None) or server.cache_types,
            offload=read_offload(loaded.size, loaded.size_vram, log, here=bool(self.pids)),
            stated=find_stated_kv_bytes(log),
        )

    def read_log(self, start: int) -> str:
        """What its server has logged beyond the first ``start`` bytes; "" if its log is not seen."""
        return self._server.read_log(start) if self._server is not None else ""

    @property
    def log_size(self) -> int:
        """Bytes of its server's log; 0 if it is not seen."""
        return self._server.log_size if self._server is not None else 0

    def keep_log(self) -> str:
        return self._server.keep_log() if self._server is not None else ""

    def log_tail(self) -> str:
        return self._server.log_tail() if self._server is not None else self._last_log


def _list_found(models: Iterable[Loaded]) -> list[FoundModel]:
    runners = [(loaded, loaded.runner) for loaded in models]
    found = [
        FoundModel.of(loaded.entry, runner.load_options, runner.pid) if runner else FoundModel.of(loaded.entry)
        for loaded, runner in runners
    ]
    return [model for model in found if model is not None]
