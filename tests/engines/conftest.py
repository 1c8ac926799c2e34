"""Real engines: each is skipped by its name, with the reason, where it is not installed."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.engines.registry import create
from pytest_llmperf.traffic.llm_client import LLMClient
from tests.engines import vllm_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.engines.api.spec import EngineSpec
    from pytest_llmperf.traffic.load.result import LoadResult
    from pytest_llmperf.traffic.workloads.workload import Workload


_HERE = Path(__file__).parent
_TIMEOUT_S = 1200  # a real engine loads a model, perhaps on a slow machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.timeout(_TIMEOUT_S))


@pytest.fixture(scope="session")
def llamacpp_installed() -> None:
    if find_spec("xllamacpp") is None:
        pytest.skip("llamacpp: xllamacpp is not installed")


@pytest.fixture(scope="session")
def ollama_installed() -> str:
    """The program: the one on the PATH, or the one that LLMPERF_TEST_OLLAMA names."""
    binary = shutil.which(os.environ.get("LLMPERF_TEST_OLLAMA") or "ollama")
    if binary is None:
        pytest.skip("ollama: it is not on the PATH, and LLMPERF_TEST_OLLAMA names none")
    return binary


@pytest.fixture(scope="session")
def vllm_installed() -> None:
    if vllm_here.missing():
        pytest.skip(vllm_here.missing())


@pytest.fixture
def started() -> Iterator[Callable[[EngineSpec], Engine]]:
    """Starts the engine of a spec; it is stopped after the test."""
    engines: list[Engine] = []

    def start(spec: EngineSpec) -> Engine:
        engines.append(create(spec))
        engines[-1].start(lambda _: None)
        return engines[-1]

    yield start
    for engine in engines:
        engine.stop()


def chat(engine: Engine, **asked: object) -> dict[str, Any]:
    """One chat answer of at most 8 tokens, not streamed."""
    body = {"messages": [{"role": "user", "content": "Write one sentence about the ocean."}], "max_tokens": 8, **asked}
    request = urllib.request.Request(
        f"{engine.base_url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def loaded(engine: Engine, asked: Workload, **arguments: Any) -> LoadResult:
    """What comes of a workload on an engine, as ``llm_client`` would send it."""
    with LLMClient(engine.endpoint, engine.dialect) as client:
        return client.run(asked, **arguments)
