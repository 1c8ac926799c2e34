"""Engine arguments of Ollama: what each may be."""

from __future__ import annotations

import pytest

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.ollama.options import (
    check_arguments,
    expires,
    parse_keep_alive,
    parse_startup_options,
    read_parameters,
)


def test_options_of_a_load_are_those_that_were_asked_for() -> None:
    assert parse_startup_options({}) == {}
    assert parse_startup_options({"num_ctx": "512", "use_mmap": "false", "num_gpu": "-1", "models_dir": "/m"}) == {
        "num_ctx": 512,
        "use_mmap": False,
        "num_gpu": -1,
    }


@pytest.mark.parametrize(
    ("text", "value", "ends"),
    [
        ("-1", -1, False),
        ("-1s", "-1s", False),
        ("30", 30, True),
        ("10m", "10m", True),
        ("1h30m", "1h30m", True),
        ("1.5s", "1.5s", True),
    ],
)
def test_a_model_is_kept_for_seconds_or_for_a_duration_as_go_writes_it(text: str, value: int | str, ends: bool) -> None:
    assert parse_keep_alive({"keep_alive": text}) == value
    assert expires(value) is ends


def test_without_a_word_it_is_kept_for_ever() -> None:
    assert not expires(parse_keep_alive({}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_ctx": "4k"}, "num_ctx='4k' is not a whole number"),
        ({"num_ctx": "0"}, "num_ctx=0 must be at least 1"),
        ({"use_mmap": "yes"}, "use_mmap='yes' is not true or false"),
        ({"cache_ram": "much"}, "cache_ram='much' is not a whole number of MiB"),
        ({"flash_attention": "on"}, "flash_attention='on' is neither 0 nor 1"),
        ({"max_queue": "-1"}, "max_queue='-1' is not a whole number of at least 1"),
        ({"top_k": "4"}, r"top_k goes with a request: llm_client\.chat\(\.\.\., top_k=\.\.\.\)"),
        ({"idle_timeout": "1h"}, "unknown engine argument 'idle_timeout'; it has num_ctx, .*, cache_ram"),
        ({"keep_alive": "10min"}, "keep_alive='10min' is neither seconds nor a duration"),
        ({"keep_alive": "0"}, "keep_alive='0' would unload the model after every request"),
        ({"keep_alive": "0s"}, "keep_alive='0s' would unload the model after every request"),
    ],
)
def test_what_is_wrong_is_named(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        check_arguments(arguments, ours=True)


def test_a_server_that_runs_cannot_be_told_what_it_is_started_with() -> None:
    with pytest.raises(EngineError, match=r"kv_cache_type is set where the server is started \(OLLAMA_KV_CACHE_TYPE\)"):
        check_arguments({"kv_cache_type": "q8_0"}, ours=False)
    check_arguments({"num_ctx": "512", "keep_alive": "1m"}, ours=False)


def test_options_that_a_model_has_by_itself_are_read_from_its_description() -> None:
    parameters = 'stop                           "<|im_end|>"\nnum_ctx                        8192\nuse_mmap   false'
    assert read_parameters({"parameters": parameters}) == {"num_ctx": 8192, "use_mmap": False}
    assert read_parameters({"parameters": "num_ctx 1.048576e+06\nnum_thread many"}) == {"num_ctx": 1048576}
    assert read_parameters({}) == {}
