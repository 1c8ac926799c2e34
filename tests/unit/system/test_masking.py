"""What is hidden of command lines and settings that are written down."""

from __future__ import annotations

import pytest

from pytest_llmperf.system.masking import is_secret, mask_secrets, mask_words


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "api-key",
        "apikey",
        "key",
        "token",
        "HF_TOKEN",
        "hf-token",
        "OPENAI_API_KEY",
        "password",
        "Authorization",
    ],
)
def test_secrets_are_known_by_their_names(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("max_num_batched_tokens", "tokenizer", "enable_prompt_tokens_details", "kv_cache", "monkey", "author"),
        *("skip_tokenizer_init", "ctx_size", "keys_per_head"),
    ],
)
def test_other_settings_are_not_taken_for_secrets(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("word", "masked"),
    [
        ("--llmperf-engine-arg=openai:api_key=sk-1", "--llmperf-engine-arg=openai:api_key=***"),
        ("--llmperf-engine-arg=api_key=sk 1,2=3", "--llmperf-engine-arg=api_key=***"),
        ("--hf-token=hf_1", "--hf-token=***"),
        ('{"api_key": "sk-1", "seed": 1}', '{"api_key": "***", "seed": 1}'),
        ("Authorization: Bearer sk-1", "Authorization: ***"),
        ("--llmperf-url=https://u:p@h/v1?code=1&sig=2", "--llmperf-url=https://***@h/v1?code=***&sig=***"),
        ("openai:http://token@h:1/v1", "openai:http://***@h:1/v1"),
        ("--llmperf-url=http://h:1/v1", "--llmperf-url=http://h:1/v1"),
        ("--llmperf-engine-arg=ctx_size=2048", "--llmperf-engine-arg=ctx_size=2048"),
        ("tests/test_a.py::test_b[a?b=c]", "tests/test_a.py::test_b[a?b=c]"),
    ],
)
def test_the_values_of_secrets_are_masked(word: str, masked: str) -> None:
    assert mask_secrets(word) == masked


def test_a_secret_in_a_word_of_its_own_is_masked() -> None:
    assert mask_words(["--api-key", "sk-1", "-k", "fast", "--token", "-x"]) == [
        "--api-key",
        "***",
        "-k",
        "fast",
        "--token",
        "-x",
    ]
