"""Tests that ``test_vllm_offline.py`` runs where vLLM computes in a process of its own, as it does on a GPU."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_llmperf.traffic.llm_client import RequestFailed

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.traffic.llm_client import LLMClient


def test_the_model_lives_in_a_child_that_is_measured(llm_engine: Engine, llm_client: LLMClient) -> None:
    [core] = llm_engine.pids
    assert psutil.Process(core).ppid() == os.getpid()
    assert llm_client.generate("x", max_tokens=4, ignore_eos=True).timing.output_tokens == 4
    readings = {name: reading.value for name, reading in llm_engine.insight.readings().items()}
    assert readings["memory.kv_reserved"] == 256 << 20
    assert readings["memory.weights"]


def test_waits_where_it_is_told_to(llm_engine: Engine) -> None:
    file = os.environ.get("WAIT_IN")
    if file is None:
        pytest.skip("nobody wants to kill it")
    tree = psutil.Process().children(recursive=True)
    Path(f"{file}.tmp").write_text(" ".join(str(process.pid) for process in tree), encoding="utf-8")
    Path(f"{file}.tmp").replace(file)
    time.sleep(600)


def test_a_child_that_is_killed_is_said(llm_engine: Engine, llm_client: LLMClient) -> None:
    [core] = llm_engine.pids
    os.kill(core, signal.SIGKILL)
    with pytest.raises(RequestFailed, match="vllm failed"):
        llm_client.generate("x", max_tokens=1000, ignore_eos=True)
    assert llm_engine.read_status().reason


def test_and_the_test_after_it_has_a_fresh_one(llm_client: LLMClient) -> None:
    assert llm_client.generate("x", max_tokens=2).text
