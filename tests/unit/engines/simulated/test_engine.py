from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.engines.simulated.engine import SimulatedEngine, SimulatedServer

if TYPE_CHECKING:
    from pathlib import Path


def test_the_server_finds_its_script_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    server = SimulatedServer(EngineSpec("simulated", args={"script": "script.toml"}))
    assert f"script={tmp_path / 'script.toml'}" in server.command(tmp_path)


def test_a_kept_engine_with_another_script_is_another_one(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    server = SimulatedServer(EngineSpec("simulated", args={"script": str(script)}))
    found = []
    for text in ("a", "b", "a"):
        script.write_text(f"[[answer]]\ntext = '{text}'", encoding="utf-8")
        found.append(server.describe_program())
    assert found[0] == found[2] != found[1]
    assert SimulatedServer(EngineSpec("simulated")).describe_program() == ""


def test_a_script_that_is_not_understood_is_refused_before_anything_starts(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text("[[answer]]\ntext = 1", encoding="utf-8")
    SimulatedEngine.check(EngineSpec("simulated"))
    with pytest.raises(EngineError, match=r"^simulated: script='.*script\.toml', answer 1: 'text' is not a text$"):
        SimulatedEngine.check(EngineSpec("simulated", args={"script": str(script)}))
