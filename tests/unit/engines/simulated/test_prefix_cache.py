from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.engines.simulated.model.prefix_cache import PrefixCache
from tests.helpers.simulated_process import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.simulated_process import Running


def test_a_cache_knows_the_beginnings_of_all_prompts() -> None:
    cache = PrefixCache()
    assert [cache.take(words.split()) for words in ("a b c d", "a b x y", "b c d", "a b x y z", "")] == [0, 2, 0, 4, 0]
    assert cache.cached_tokens == 6


def test_the_last_token_is_always_read() -> None:
    cache = PrefixCache()
    assert [cache.take(["a", "b", "c"]) for _ in range(2)] == [0, 2]
    assert [cache.take(["a"]) for _ in range(2)] == [0, 0]


def test_an_emptied_cache_knows_nothing() -> None:
    cache = PrefixCache()
    cache.take(["a", "b", "c"])
    cache.clear()
    assert cache.take(["a", "b", "c"]) == 0


def count_cached(server: Running) -> object:
    usage = server.stream(max_tokens=1, stream_options={"include_usage": True})[-1]["usage"]
    return usage["prompt_tokens_details"] and usage["prompt_tokens_details"]["cached_tokens"]


def test_a_server_without_a_cache_says_zero(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert [count_cached(server) for _ in range(2)] == [0, 0]


def test_a_server_with_a_cache_counts_what_comes_from_it_until_it_is_emptied(tmp_path: Path) -> None:
    with serving(tmp_path, prefix_cache="true") as server:
        assert [count_cached(server) for _ in range(2)] == [0, 2]
        assert server.send("/reset_prefix_cache", {})[0] == 200
        assert count_cached(server) == 0
        assert server.send("/prefix_cache")[2] == '{"cached_tokens": 2}'


def test_a_silent_server_has_null_details(tmp_path: Path) -> None:
    with serving(tmp_path, prefix_cache="true", states_cached="false") as server:
        assert [count_cached(server) for _ in range(2)] == [None, None]
