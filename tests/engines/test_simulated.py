from __future__ import annotations

import urllib.error
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.engines.provision import Provisioner
from pytest_llmperf.engines.registry import EngineRegistry
from tests.engines.conftest import chat
from tests.helpers.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_llmperf.engines.api.engine import Engine

MIB = 1 << 20


def simulated(**args: str) -> EngineSpec:
    return EngineSpec("simulated", args={"ttft": "1 ms", "tpot": "0 ms", **args}, startup_timeout=60)


def test_it_answers_under_the_name_it_was_given(started: Callable[[EngineSpec], Engine]) -> None:
    engine = started(simulated(model="tiny"))
    answer = chat(engine)
    assert (answer["model"], engine.model) == ("tiny", "tiny")
    assert answer["usage"]["completion_tokens"] == 8
    assert [device.kind for device in engine.devices] == ["cpu"]


def test_it_is_ready_only_when_it_has_loaded(started: Callable[[EngineSpec], Engine]) -> None:
    engine = started(simulated(startup_time="300 ms"))
    assert engine.startup_time is not None
    assert engine.startup_time >= 0.3


def test_the_memory_it_holds_is_seen(started: Callable[[EngineSpec], Engine]) -> None:
    engine = started(simulated(memory="64 MiB"))
    until(lambda: (engine.memory().resident or 0) > 64 * MIB)


def test_a_model_that_was_unloaded_gives_its_memory_back_and_the_next_request_loads_it_again(
    started: Callable[[EngineSpec], Engine],
) -> None:
    engine = started(simulated(memory="64 MiB"))
    until(lambda: (engine.memory().resident or 0) > 64 * MIB)
    assert chat(engine)
    engine.unload()
    until(lambda: (engine.memory().resident or 0) < 64 * MIB)
    assert (engine.memory().resident or 0) < 64 * MIB
    assert chat(engine)
    assert (engine.memory().resident or 0) > 64 * MIB


def test_an_engine_that_sleeps_holds_no_model_until_it_wakes(started: Callable[[EngineSpec], Engine]) -> None:
    engine = started(simulated(memory="64 MiB"))
    states = [engine.state]
    engine.sleep()
    states.append(engine.state)
    until(lambda: (engine.memory().resident or 0) < 64 * MIB)
    engine.wake()
    states.append(engine.state)
    assert states == [EngineState.READY, EngineState.ASLEEP, EngineState.READY]
    assert (engine.memory().resident or 0) > 64 * MIB


def test_a_crash_in_the_middle_of_an_answer_is_seen_and_the_next_test_gets_a_fresh_one() -> None:
    said: list[str] = []
    provisioner = Provisioner(EngineRegistry(), said.append)
    try:
        engine = provisioner.acquire(simulated(crash_after="4"))
        before = engine.pids
        with pytest.raises((urllib.error.URLError, OSError)):
            chat(engine)
        until(lambda: engine.read_status().reason)
        assert engine.read_status().reason == "simulated ended with status 70"
        assert provisioner.acquire(simulated(crash_after="4")) is engine
        assert engine.pids not in ((), before)
        assert "simulated ended with status 70; starting it again" in said
    finally:
        provisioner.close()
    assert engine.pids == ()


def test_a_crash_while_loading_gives_its_status_and_its_words(started: Callable[[EngineSpec], Engine]) -> None:
    with pytest.raises(EngineError, match=r"^simulated ended with status 3 while starting$") as caught:
        started(simulated(crash_on_start="true"))
    assert "cannot load the model" in caught.value.log_tail


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (simulated(speed="9"), "simulated: unknown setting 'speed'"),
        (simulated(tpot="5"), "simulated: tpot='5' has no unit"),
        (EngineSpec("simulated", url="http://127.0.0.1:1"), "takes neither --llmperf-url nor"),
        (EngineSpec("simulated", binary="x"), "takes neither --llmperf-url nor"),
    ],
)
def test_what_can_never_work_is_refused(
    spec: EngineSpec, message: str, started: Callable[[EngineSpec], Engine]
) -> None:
    with pytest.raises(EngineError, match=message):
        started(spec)


def test_a_module_in_the_projects_folder_does_not_shadow_the_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: Callable[[EngineSpec], Engine]
) -> None:
    (tmp_path / "asyncio.py").write_text("raise SystemExit('not this one')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert started(simulated()).state is EngineState.READY
