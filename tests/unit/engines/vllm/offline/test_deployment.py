from __future__ import annotations

import os
import queue
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.engines.registry import create
from pytest_llmperf.engines.vllm.offline import deployment as vllm_offline
from pytest_llmperf.engines.vllm.offline.children import Children
from pytest_llmperf.engines.vllm.offline.deployment import InProcessVLLM
from tests.helpers.engine_processes import own_tmp, runs
from tests.helpers.waiting import PATIENCE_S, read_line, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["own_tmp"]
OFFLINE = {"mode": "offline"}
# Has a child of its own, and neither ends when it is asked to.
DEAF = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    print(child, flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_offline, "find_spec", lambda name: SimpleNamespace(name=name))


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (EngineSpec("vllm", model="m", args={"mode": "online"}), "mode='online' is not known"),
        (EngineSpec("vllm", model="m", url="http://h", args=OFFLINE), "no --llmperf-url"),
        (EngineSpec("vllm", model="m", binary="vllm", args=OFFLINE), "no --llmperf-engine-bin"),
        (EngineSpec("vllm", args=OFFLINE), "vllm needs a model"),
        (EngineSpec("vllm", model="m", args={**OFFLINE, "kv_cache": "4"}), "kv_cache"),
    ],
)
def test_what_can_never_work_is_refused(spec: EngineSpec, reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        create(spec)


def test_without_vllm_in_pytests_own_environment_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_offline, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"mode=offline runs inside pytest, and vLLM is not installed .*pip install"):
        create(EngineSpec("vllm", model="m", args=OFFLINE))


@pytest.mark.usefixtures("installed")
def test_before_its_start_it_has_neither_processes_nor_an_llm_nor_an_address(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    engine = create(EngineSpec("vllm", model=str(tmp_path), args=OFFLINE))
    assert isinstance(engine.deployment, InProcessVLLM)
    assert (engine.model, engine.pids) == (tmp_path.name, ())
    assert engine.read_status().reason == "vllm was stopped"
    with pytest.raises(EngineError, match="has no address"):
        _ = engine.base_url
    with pytest.raises(EngineError, match="vllm was stopped"):
        _ = engine.deployment.llm


@pytest.mark.usefixtures("installed")
def test_a_model_that_cannot_be_loaded_is_one_line_and_leaves_nothing(
    own_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(self: InProcessVLLM) -> None:
        self._files = own_tmp / "files"
        self._files.mkdir()
        self._note(os.getpid())
        raise RuntimeError("no such model\nand a long explanation")

    monkeypatch.setattr(InProcessVLLM, "_create_llm", load)
    engine = create(EngineSpec("vllm", model="m", args=OFFLINE))
    with pytest.raises(EngineError, match=r"^vllm cannot load m: no such model$") as caught:
        engine.start(lambda _: None)
    # Its cause would hold all that was loaded by then.
    assert caught.value.__context__ is None
    assert [path for path in own_tmp.rglob("*") if path.parent == own_tmp and path.name == "files"] == []
    assert engine.pids == ()


@pytest.fixture
def deaf() -> Iterator[tuple[Children, int, int]]:
    """The children that have come, one that is deaf to SIGTERM, with its pid and that of its child."""
    before = Children.list_present()
    with subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, text=True) as process:
        grandchild = int(read_line(process.stdout))
        yield Children(before), process.pid, grandchild
        for pid in (grandchild, process.pid):
            if runs(pid):
                psutil.Process(pid).kill()


def test_children_that_came_since_are_found_and_ended_with_their_own(deaf: tuple[Children, int, int]) -> None:
    children, pid, grandchild = deaf
    assert children.pids == (pid,)
    assert children.explain_end() == ""
    children.stop(0.05)
    until(lambda: not runs(pid) and not runs(grandchild))
    assert children.explain_end() == f"vllm has lost its engine core (pid {pid})"
    children.stop(0.05)


def test_whoever_waits_for_an_engine_whose_process_was_killed_is_told(deaf: tuple[Children, int, int]) -> None:
    children, pid, _ = deaf
    outputs: queue.Queue[object] = queue.Queue()
    children.watch(SimpleNamespace(outputs_queue=outputs))
    psutil.Process(pid).kill()
    told = outputs.get(timeout=PATIENCE_S)
    assert isinstance(told, RuntimeError)
    assert str(told) == f"vllm has lost its engine core (pid {pid})"


def test_an_engine_without_children_is_not_watched() -> None:
    children = Children(Children.list_present())
    children.watch(SimpleNamespace(outputs_queue=queue.Queue()))
    assert children.pids == ()
    assert children.explain_end() == ""
    children.stop(1.0)
