"""Models that are named by a path: those that cannot be vLLM's are refused before anything is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.engines.registry import create
from pytest_llmperf.engines.vllm.model import check_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "whole", "mistral", "ggufs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "whole" / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "mistral" / "params.json").write_text("{}", encoding="utf-8")
    (tmp_path / "ggufs" / "a.gguf").write_bytes(b"GGUF")
    (tmp_path / "whole" / "model.safetensors").write_bytes(b"")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("/nonexistent/model", "there is no folder '/nonexistent/model'"),
        ("./typo", "there is no folder './typo'"),
        ("../typo", "there is no folder '../typo'"),
        ("~/typo-of-nobody", "there is no folder '~/typo-of-nobody'"),
        ("models/of/mine", "there is no folder 'models/of/mine'"),
        ("typo/", "there is no folder 'typo/'"),
        ("org/typo.gguf", "there is no folder 'org/typo.gguf'"),
        ("two words", "there is no folder 'two words'"),
        ("empty", "the folder 'empty' has no config.json"),
        ("./empty", "the folder './empty' has no config.json"),
        ("ggufs", "it holds GGUF files, which are for llamacpp and ollama"),
        ("ggufs/a.gguf", "'ggufs/a.gguf' is a file, .* GGUF files are for llamacpp and ollama"),
        ("whole/model.safetensors", "is a file, .* give its folder"),
    ],
)
@pytest.mark.parametrize("args", [{}, {"mode": "offline"}], ids=["server", "offline"])
def test_a_path_that_is_no_model_is_refused_at_once(
    model: str, words: str, args: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_llmperf.engines.vllm.offline.deployment.find_spec", lambda _: True)
    with pytest.raises(EngineError, match=words) as caught:
        create(EngineSpec("vllm", model=model, binary=None if args else "/no/such/vllm", args=args))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "model",
    ["Qwen/Qwen3-0.6B", "gpt2", "org/repo:Q4_K_M", "s3://bucket/folder/of/a/model", "whole", "./whole", "mistral"],
)
def test_a_hub_id_a_url_and_a_folder_with_a_configuration_are_left_to_vllm(model: str) -> None:
    check_model(model, {})


@pytest.mark.parametrize(
    ("model", "args"),
    [
        ("empty", {"hf_config_path": "whole"}),
        ("ggufs/a.gguf", {"load_format": "gguf"}),
        ("ggufs/a.gguf", {"tokenizer": "whole"}),
    ],
)
def test_arguments_that_say_how_a_path_is_read_let_it_pass(model: str, args: dict[str, str]) -> None:
    check_model(model, args)
