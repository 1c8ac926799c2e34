"""An engine that runs nothing and notes what happens to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.deployment import Deployment
from pytest_llmperf.engines.api.engine import Engine, EngineParts
from pytest_llmperf.engines.api.insight import Insight
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState, EngineStatus
from pytest_llmperf.traffic.client.dialect import OPENAI

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from pytest_llmperf.engines.api.spec import EngineSpec, Progress
    from pytest_llmperf.measurement.engine_info import Device


class FakeDeployment(Deployment):
    """Starts unless ``failure`` says why not; has ended once ``end`` says why."""

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self.events: list[str] = []
        self.failure = ""
        self.end = ""

    def start(self, progress: Progress) -> None:
        self.events.append("start")
        if self.failure:
            raise EngineError(self.failure, "its log")
        self.end = ""
        self.state = EngineState.READY

    def stop(self) -> None:
        self.events.append("stop")
        self.state = EngineState.ENDED

    @property
    def pids(self) -> tuple[int, ...]:
        return ()

    def read_status(self) -> EngineStatus:
        if self.end:
            return EngineStatus(EngineState.ENDED, self.end)
        return EngineStatus(self.state, "fake was left asleep" if self.state is EngineState.ASLEEP else "")


class FakeEngine(Engine):
    """Takes no arguments."""

    name = "fake"

    @classmethod
    def check(cls, spec: EngineSpec) -> None:
        if spec.args:
            raise EngineError("fake takes no arguments")

    @classmethod
    def compose(cls, spec: EngineSpec) -> EngineParts:
        return EngineParts(FakeDeployment(spec), OPENAI, Insight())

    @property
    def fake(self) -> FakeDeployment:
        assert isinstance(self.deployment, FakeDeployment)
        return self.deployment


class NotingListener:
    """Notes on each fake what it is told of it; ``fail`` may raise when one is stopped."""

    def __init__(self, fail: Callable[[Engine], None] = lambda _: None) -> None:
        self._fail = fail

    def before_start(self, engine: Engine) -> Mapping[str, Any]:
        self._note(engine, "before")
        return {}

    def on_start(self, engine: Engine) -> tuple[Device, ...]:
        self._note(engine, "watch")
        return ()

    def on_stop(self, engine: Engine) -> None:
        self._fail(engine)
        self._note(engine, "unwatch")

    def before_unload(self, engine: Engine) -> None:
        self._note(engine, "loaded")

    def on_unload(self, engine: Engine) -> None:
        self._note(engine, "unloaded")

    @staticmethod
    def _note(engine: Engine, event: str) -> None:
        assert isinstance(engine, FakeEngine)
        engine.fake.events.append(event)
