from __future__ import annotations

import logging
import os
import warnings
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.api.spec import EngineSpec
from pytest_llmperf.engines.vllm.offline import startup
from pytest_llmperf.engines.vllm.offline.startup import LogTail, environment

if TYPE_CHECKING:
    from pathlib import Path

SPEC = EngineSpec("vllm", model="m")


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("VLLM_", "OMP_", "HF_"))]:
        monkeypatch.delenv(name)


def test_a_model_is_loaded_with_its_own_environment_and_the_callers_is_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "is_built_for_cpu", lambda: True)
    before = dict(os.environ)
    with environment(SPEC, tmp_path, tmp_path / "files"):
        seen = dict(os.environ)
    assert dict(os.environ) == before
    assert seen["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert seen["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"
    assert seen["HF_HUB_OFFLINE"] == "1"
    assert seen["TMPDIR"] == seen["VLLM_RPC_BASE_PATH"] == str(tmp_path / "files")


def test_on_a_gpu_vllm_computes_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "is_built_for_cpu", lambda: False)
    spec = EngineSpec("vllm", model="org/name", visible_devices="1")
    with environment(spec, None, tmp_path):
        assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in os.environ
        assert "HF_HUB_OFFLINE" not in os.environ
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


def test_where_downloads_are_forbidden_the_hub_is_not_asked(tmp_path: Path) -> None:
    with environment(EngineSpec("vllm", model="org/name", pull=False), None, tmp_path):
        assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_what_the_caller_has_set_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "is_built_for_cpu", lambda: True)
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with environment(SPEC, None, tmp_path):
        assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "1"
        assert os.environ["OMP_NUM_THREADS"] == "7"


def test_warnings_while_loading_are_not_the_tests(tmp_path: Path) -> None:
    with environment(SPEC, None, tmp_path):
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)


def test_the_last_lines_of_its_log_are_kept() -> None:
    tail, logger = LogTail(), logging.getLogger("vllm")
    tail.listen()
    try:
        for number in range(30):
            logger.getChild("engine").warning("line %d", number)
    finally:
        logger.removeHandler(tail)
    assert tail.text.splitlines() == [f"line {number}" for number in range(10, 30)]
    tail.listen()
    assert tail.text == ""
    logger.removeHandler(tail)
