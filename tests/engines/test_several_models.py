"""Memory of several models, with all of them loaded and after some were unloaded: a server for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engines.vllm_here import PYTHON, SMALL_POOL, SMOLLM2, TINY

if TYPE_CHECKING:
    from tests.conftest import Runs

SUITE = """
@pytest.fixture(scope="module")
def engines(llm_engine_factory):
    return [llm_engine_factory({name!r}, model=model, args=args) for model, args in {models!r}]

@pytest.mark.memory_budget(unloaded="8 GiB")
def test_unloaded(engines, llm_client_factory, llm_perf):
    for engine in engines:
        assert llm_client_factory(engine).generate("Hello", max_tokens=2).text is not None
    full = llm_perf.read("memory.peak").value
    engines[1].unload()
    after_one = llm_perf.read("memory.unloaded").value
    assert full - after_one > 20 * 2**20
    for engine in engines:
        engine.unload()
    assert llm_perf.read("memory.unloaded").value == 0
"""
AGAIN = """
def test_it_is_loaded_again_for_whoever_asks(engines, llm_engine_factory):
    model, args = {models!r}[1]
    again = llm_engine_factory({name!r}, model=model, args=args)
    assert again.pids
"""


def check(runs: Runs, suite: str, name: str, models: list[tuple[str | None, dict[str, str]]], *options: str) -> None:
    result = runs.plain(suite.format(name=name, models=models), f"--llm-engine={name}", *options)
    result.assert_outcomes(passed=suite.count("def test_"))
    result.stdout.fnmatch_lines(["budgets: 1 PASS"])


@pytest.mark.usefixtures("llamacpp_installed")
def test_llamacpp(runs: Runs) -> None:
    check(runs, SUITE + AGAIN, "llamacpp", [(None, {"ctx_size": size}) for size in ("512", "1024", "2048")])


@pytest.mark.usefixtures("vllm_installed")
def test_vllm(runs: Runs) -> None:
    models: list[tuple[str | None, dict[str, str]]] = [
        (str(folder), {**SMALL_POOL, "kv_cache": "64 MiB"}) for folder in (TINY, SMOLLM2)
    ]
    check(runs, SUITE, "vllm", models, f"--llmperf-engine-bin=vllm:{PYTHON}", f"--llmperf-model={TINY}")
