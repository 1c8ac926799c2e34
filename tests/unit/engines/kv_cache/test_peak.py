"""The peak of a KV cache from looks, from proof, and neither (times in milliseconds)."""

from __future__ import annotations

import pytest

from pytest_llmperf.engines.kv_cache.looks import KVPoll, KVPool
from pytest_llmperf.engines.kv_cache.peak import Fullest, Seen, find_fullest, prove
from pytest_llmperf.measurement.reading import Missing
from tests.helpers.streams import MS, stream, whole
from tests.unit.engines.kv_cache.test_proof import tokens

POOL = KVPool(1001, 16, 1001 * 1024.0)
# 40 requests that hold 4 blocks each: 160 together.
TOGETHER = [tokens(100 + i, 20, prompt=40, cached_tokens=0) for i in range(40)]


def look(at_ms: int, blocks: int, waiting: float = 0) -> KVPoll:
    return KVPoll(at_ms * MS, blocks, 7, waiting)


def fullest(seen: Seen, pool: KVPool = POOL) -> Fullest | Missing:
    return find_fullest(pool, seen, prove(pool, seen))


def test_tokens_prove_more_than_rare_looks_saw() -> None:
    found = fullest(Seen([look(90, 80), look(305, 0)], "", TOGETHER))
    assert found == Fullest(
        160,
        "160 of 1001 blocks of 16 tokens, proven by tokens of requests that ran together; "
        "2 looks, at most 215 ms apart, saw 80",
        40,
    )


def test_looks_that_saw_more_stand() -> None:
    assert fullest(Seen([look(90, 200), look(305, 0)], "", TOGETHER)) == Fullest(
        200, "200 of 1001 blocks of 16 tokens; 2 looks, at most 215 ms apart", 2
    )


def test_no_more_is_proven_than_the_pool_has() -> None:
    found = fullest(Seen([look(90, 80), look(305, 0)], "", TOGETHER), KVPool(129, 16, 1.0))
    assert isinstance(found, Fullest)
    assert found.blocks == 128


@pytest.mark.parametrize("pool", [POOL, KVPool(1001, 16, 1.0, keeps_all_tokens=False)])
def test_a_model_that_gives_blocks_back_proves_none(pool: KVPool) -> None:
    seen = Seen([look(90, 80)], "", TOGETHER)
    assert prove(pool, seen).blocks == (160 if pool.keeps_all_tokens else 0)
    assert prove(pool, seen).running == 40


def test_where_nothing_is_proven_between_rare_looks_that_is_said() -> None:
    unseen = [whole(100, 300, prompt_tokens=40, output_tokens=20) for _ in range(40)]
    assert fullest(Seen([look(90, 0), look(110, 80), look(325, 0)], "", unseen)) == Missing(
        "no look at the engine for 0.19 s, in which its requests may have held 160 blocks of 16 tokens: 80 are known"
    )


def test_rare_looks_are_enough_where_no_more_can_have_been_held() -> None:
    unseen = [whole(100, 300, prompt_tokens=40, output_tokens=20) for _ in range(40)]
    found = fullest(Seen([look(90, 0), look(110, 155), look(325, 0)], "", unseen))
    assert isinstance(found, Fullest)
    assert found.blocks == 155


def test_where_requests_wait_a_look_shows_the_engine_at_its_limit() -> None:
    unseen = [whole(100, 2000, prompt_tokens=40, output_tokens=20) for _ in range(40)]
    looks = [look(at, 80, waiting=20) for at in range(120, 2000, 210)]
    found = fullest(Seen(looks, "", unseen))
    assert isinstance(found, Fullest)
    assert found.blocks == 80


def test_frequent_looks_need_no_proof() -> None:
    unseen = [whole(100, 2000, prompt_tokens=40, output_tokens=20) for _ in range(40)]
    looks = [look(at, 80) for at in range(90, 2000, 50)]
    found = fullest(Seen(looks, "", unseen))
    assert isinstance(found, Fullest)
    assert found.blocks == 80


def test_why_there_were_no_looks_is_said_unless_tokens_prove_the_peak() -> None:
    uncounted = stream(100, 900)
    assert fullest(Seen([], "no server listens", [uncounted])) == Missing("no server listens")
    found = fullest(Seen([], "no server listens", TOGETHER))
    assert isinstance(found, Fullest)
    assert found.blocks == 160
