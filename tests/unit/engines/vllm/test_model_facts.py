"""Which model vLLM serves, from folders like those of the hub."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.engines.api.model_facts import ModelFacts
from pytest_llmperf.engines.api.spec import EngineSpec
from pytest_llmperf.engines.vllm.model_facts import find_quantisation, read_model_facts

if TYPE_CHECKING:
    from pathlib import Path

ONE, OTHER = "1" * 40, "2" * 40


def write_model(folder: Path, config: dict[str, Any], weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "models--Qwen--Qwen3-0.6B"
    write_model(folder / "snapshots" / ONE, {"dtype": "bfloat16"})
    write_model(folder / "snapshots" / OTHER, {"quantization_config": {"quant_method": "awq"}})
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(ONE, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, ModelFacts(ONE, "bfloat16")),
        ({"revision": OTHER}, ModelFacts(OTHER, "awq")),
        ({"revision": "gone"}, ModelFacts()),
        ({"quantization": "fp8"}, ModelFacts(ONE, "fp8")),
    ],
)
def test_a_model_of_the_hub_is_its_commit(hub: Path, arguments: dict[str, str], expected: ModelFacts) -> None:
    assert read_model_facts(EngineSpec("vllm", "Qwen/Qwen3-0.6B", args=arguments), None) == expected


def test_a_snapshot_that_is_named_by_its_path_is_the_same_model(hub: Path) -> None:
    folder = hub / "snapshots" / ONE
    by_path = read_model_facts(EngineSpec("vllm", str(folder)), folder)
    assert by_path == read_model_facts(EngineSpec("vllm", "Qwen/Qwen3-0.6B"), None)


def test_a_model_that_vllm_has_downloaded_elsewhere_is_found(hub: Path, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    hub.rename(tmp_path / "own" / hub.name)
    spec = EngineSpec("vllm", "Qwen/Qwen3-0.6B", args={"download_dir": str(tmp_path / "own")})
    assert read_model_facts(spec, None).digest == ONE


def test_a_folder_is_what_its_configuration_and_weights_are(tmp_path: Path) -> None:
    spec = EngineSpec("vllm", "m")
    same = [write_model(tmp_path / name, {"dtype": "float32"}) for name in "ab"]
    other = [
        write_model(tmp_path / "config", {"dtype": "float16"}),
        write_model(tmp_path / "ends", {"dtype": "float32"}, b"weightS"),
        write_model(tmp_path / "size", {"dtype": "float32"}, b"weights and more"),
    ]
    facts = [read_model_facts(spec, folder) for folder in same]
    assert facts[0] == facts[1]
    assert len({facts[0].digest, *(read_model_facts(spec, folder).digest for folder in other)}) == 4


@pytest.mark.parametrize(
    ("config", "arguments", "expected"),
    [
        ({"torch_dtype": "bfloat16"}, {}, "bfloat16"),
        ({"torch_dtype": "bfloat16"}, {"dtype": "float16"}, "float16"),
        ({"torch_dtype": "bfloat16"}, {"dtype": "auto"}, "bfloat16"),
        ({"text_config": {"dtype": "bfloat16"}}, {}, "bfloat16"),
        ({"dtype": "bfloat16", "quantization_config": {"quant_method": "gptq"}}, {"dtype": "float16"}, "gptq"),
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, {}, "fp8"),
        ({}, {}, ""),
    ],
)
def test_weights_are_quantised_as_arguments_or_configuration_say(
    config: dict[str, Any], arguments: dict[str, str], expected: str
) -> None:
    assert find_quantisation(config, arguments) == expected
