from __future__ import annotations

import asyncio
import time

import pytest

from pytest_llmperf.traffic.client.exchange import Target
from pytest_llmperf.traffic.load.connections import LoadPool


@pytest.mark.parametrize(("heard_before_s", "is_silent"), [(0, False), (59, False), (61, True)])
def test_an_engine_is_silent_only_when_nothing_has_come_to_any_request(heard_before_s: float, is_silent: bool) -> None:
    told: list[str] = []

    async def run() -> None:
        target = Target.parse("http://127.0.0.1:9/v1")
        pool = LoadPool(target, 60.0, 0, lambda _: None, told.append, keep=True)
        pool.heard_ns = time.monotonic_ns() - round(heard_before_s * 1e9)
        pool._note_silence()

    asyncio.run(run())
    assert told == (["the engine is silent: nothing came for 60 s"] if is_silent else [])
