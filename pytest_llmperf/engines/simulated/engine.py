"""The ``simulated`` engine: a server that emits tokens on a schedule instead of running a model."""

from __future__ import annotations

import hashlib
import json
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.engine import Engine, EngineParts
from pytest_llmperf.engines.api.insight import Insight
from pytest_llmperf.engines.api.observation import Observation, Observed
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.engines.lifecycle.http import UNREADABLE_JSON, check_port, http_get, http_post, read_announced_url
from pytest_llmperf.engines.lifecycle.server_deployment import ServerDeployment
from pytest_llmperf.engines.simulated.model.script import ScriptError, read_script
from pytest_llmperf.engines.simulated.model.settings import Simulation, SimulationError
from pytest_llmperf.measurement.reading import Missing
from pytest_llmperf.telemetry.cpu import cpu_device
from pytest_llmperf.traffic.client.dialect import Dialect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_llmperf.engines.api.spec import EngineSpec
    from pytest_llmperf.measurement.reading import Reading
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.measurement.window import Window

_ANNOUNCE = "announce"
_LIKELY_TOKENS = {"logprobs": 20, "simulate": {"warmup": True, "ttft": "0 s"}}


class SimulatedEngine(Engine):
    """Every setting of :class:`Simulation` is an engine argument; most may be given per request: ``simulate={...}``."""

    name = "simulated"

    @classmethod
    def check(cls, spec: EngineSpec) -> None:
        if spec.url or spec.binary:
            raise EngineError(
                "simulated is always started here: it takes neither --llmperf-url nor --llmperf-engine-bin"
            )
        try:
            read_script(Simulation.from_strings(spec.args).script)
        except (SimulationError, ScriptError) as error:
            raise EngineError(f"simulated: {error}") from None
        check_port(spec.args.get("port", "0"), "port")

    @classmethod
    def compose(cls, spec: EngineSpec) -> EngineParts:
        server = SimulatedServer(spec)
        return EngineParts(server, _make_dialect(server.simulation.tokenizer), SimulatedInsight(server))


def _make_dialect(tokenizer: str) -> Dialect:
    def split(text: str) -> Sequence[str]:
        return text if tokenizer == "letters" else text.split()

    return Dialect(
        count_tokens=lambda _, text: len(split(text)),
        list_tokens=lambda _, text: [zlib.crc32(token.encode()) for token in split(text)],
        # They are no requests of a test: they have no number and take no time.
        likely_tokens=_LIKELY_TOKENS,
        warmup={"simulate": {"warmup": True}},
    )


class SimulatedServer(ServerDeployment):
    """A server whose model is a block of memory of a set size; HTTP requests load and unload it."""

    ends_to_unload = False

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self.simulation = Simulation.from_strings(spec.args)
        self.model = spec.args.get("model", self.model or "simulated")
        self.version = "1"

    def command(self, folder: Path) -> list[str]:
        words = [sys.executable, "-P", "-m", "pytest_llmperf.engines.simulated.server_main"]
        words += ["--announce", str(folder / _ANNOUNCE)]
        settings = {**self.spec.args, "model": self.model}
        if self.simulation.script:
            settings["script"] = str(Path(self.simulation.script).absolute())
        for key, value in settings.items():
            words += ["--set", f"{key}={value}"]
        return words

    def describe_program(self) -> str:
        """The content of its script: a kept engine with another one is another engine."""
        if not self.simulation.script:
            return ""
        return f"script {hashlib.sha256(Path(self.simulation.script).read_bytes()).hexdigest()}"

    def find_url(self, folder: Path) -> str | None:
        return read_announced_url(folder / _ANNOUNCE)

    def empty_prompt_cache(self) -> None:
        """Begins its script anew as well, so that a test has the same answers alone, rerun and in any order."""
        if self.simulation.prefix_cache:
            self._order("reset_prefix_cache")
        if self.simulation.script:
            self._order("reset_script")

    def unload(self) -> None:
        """Stays ready: the next request loads it again."""
        self._order("unload")

    def sleep(self, level: int) -> None:
        self._order("unload")
        self.state = EngineState.ASLEEP

    def wake(self) -> None:
        self._order("load")
        self.state = EngineState.READY

    def count_cached_tokens(self) -> int | None:
        """The prompt tokens that have come from its prefix cache so far; None if it does not say."""
        if not self.simulation.prefix_cache:
            return 0
        if not self.simulation.states_cached:
            return None
        try:
            return int(json.loads(http_get(f"{self.base_url.removesuffix('/v1')}/prefix_cache"))["cached_tokens"])
        except (OSError, *UNREADABLE_JSON):
            return None  # it has ended, which its status tells

    def count_running(self) -> int | Missing:
        """How many requests it answers or has waiting now; Missing once it has ended."""
        try:
            found = json.loads(http_get(f"{self.base_url.removesuffix('/v1')}/slots"))
            return int(found["waiting"]) + sum(bool(slot["is_processing"]) for slot in found["slots"])
        except (OSError, *UNREADABLE_JSON) as error:
            return Missing(f"the server does not tell which requests it works on: {error}")

    def _order(self, what: str) -> None:
        try:
            http_post(f"{self.base_url.removesuffix('/v1')}/{what}")
        except OSError as error:
            raise EngineError(f"simulated: it did not {what}: {error}", self.log_tail()) from None


class SimulatedInsight(Insight):
    """``device=gpu`` makes it one that computes on a GPU as far as it says."""

    def __init__(self, server: SimulatedServer) -> None:
        self._server = server
        self.computes_on_gpu = server.simulation.device == "gpu"
        self.devices = () if self.computes_on_gpu else (cpu_device(),)

    def count_running(self) -> int | Missing:
        return self._server.count_running()

    def observe(self) -> Observation:
        return SimulatedObservation(self.readings, self._server)


class SimulatedObservation(Observation):
    """Counts the prompt tokens that come from the prefix cache, if the server is one that says so."""

    def __init__(self, readings: Callable[[], Mapping[str, Reading]], server: SimulatedServer) -> None:
        super().__init__(readings)
        self._server = server
        self._before = server.count_cached_tokens()

    def read(self, requests: Sequence[RequestTiming], window: Window) -> Observed:
        now = self._server.count_cached_tokens()
        rise = None if now is None or self._before is None else now - self._before
        return replace(super().read(requests, window), cached_tokens=rise)
