"""What an engine of a run is called, and when one engine satisfies two specs."""

from __future__ import annotations

import pytest

from pytest_llmperf.engines.api.spec import EngineSpec


@pytest.mark.parametrize(
    ("model", "variant", "label"),
    [
        (None, "", "llamacpp"),
        ("Qwen/Qwen3-0.6B", "", "llamacpp:Qwen/Qwen3-0.6B"),
        ("qwen3:0.6b", "", "llamacpp:qwen3:0.6b"),
        ("/models/a.gguf", "", "llamacpp:a.gguf"),
        ("~/models/a.gguf", "", "llamacpp:a.gguf"),
        ("models/a.GGUF", "", "llamacpp:a.GGUF"),
        ("./qwen", "", "llamacpp:qwen"),
        ("../models/qwen/", "", "llamacpp:qwen"),
        ("/models/qwen", "", "llamacpp:qwen"),
        ("/", "", "llamacpp:/"),
        ("/models/a.gguf", "new", "new"),
        (None, "new", "new"),
    ],
)
def test_a_label_has_no_folder(model: str | None, variant: str, label: str) -> None:
    assert EngineSpec("llamacpp", model, variant=variant).label == label


def test_a_variant_may_be_called_by_its_label_its_engine_and_its_model() -> None:
    assert EngineSpec("vllm", "Qwen/Qwen3-0.6B", variant="new").names == ("new", "vllm", "vllm:Qwen/Qwen3-0.6B")
    assert EngineSpec("vllm", "Qwen/Qwen3-0.6B").names == ("vllm:Qwen/Qwen3-0.6B", "vllm")
    assert EngineSpec("vllm").names == ("vllm",)


def test_two_variants_are_two_engines_even_with_equal_settings() -> None:
    old, new = (EngineSpec("vllm", "m", args={"a": "1"}, variant=variant) for variant in ("old", "new"))
    assert old.key != new.key
    assert old.key == EngineSpec("vllm", "m", args={"a": "1"}, variant="old", startup_timeout=1.0).key


def test_arguments_are_stated_without_what_is_secret_or_of_this_host() -> None:
    given = {
        "max_model_len": "2048",
        "api_key": "sk-1",
        "hf_token": "hf_1",
        "port": "8000",
        "pid": "12",
        "download_dir": "/home/someone/models",
        "speculative_config": '{"model": "/data/models/eagle", "tokenizer": "Qwen/Qwen3-0.6B", "n": 1}',
        "chat_template": "./templates/a.jinja",
        "lora_modules": "a=/adapters/a b=~/adapters/b/",
        "served_model_name": "Qwen/Qwen3-0.6B",
        "kv_transfer": "https://user:pass@host/a/b",
        "adapter": "file:///data/a",
    }
    assert dict(EngineSpec("vllm", args=given).stated_arguments) == {
        "adapter": "a",
        "chat_template": "a.jinja",
        "download_dir": "models",
        "kv_transfer": "https://***@host/a/b",
        "lora_modules": "a=a b=b/",
        "max_model_len": "2048",
        "served_model_name": "Qwen/Qwen3-0.6B",
        "speculative_config": '{"model": "eagle", "tokenizer": "Qwen/Qwen3-0.6B", "n": 1}',
    }


def test_arguments_are_stated_in_one_order() -> None:
    one, other = (EngineSpec("vllm", args=args) for args in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}))
    assert one.stated_arguments == other.stated_arguments == (("a", "1"), ("b", "2"))
