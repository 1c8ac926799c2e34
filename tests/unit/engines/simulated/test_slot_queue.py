from __future__ import annotations

import asyncio

from pytest_llmperf.engines.simulated.slot_queue import SlotQueue, Work
from tests.helpers.waiting import PATIENCE_S


async def settle() -> None:
    """Lets all tasks go on to where they wait; how many turns of the loop that takes differs between Pythons."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_slots_and_the_queue_tell_their_state() -> None:
    async def run() -> None:
        slots, release = SlotQueue(2, 1), asyncio.Event()
        waited: list[bool] = []

        async def hold(number: int) -> None:
            async with slots.take(Work(number, "/v1/messages", 3)) as has_waited:
                waited.append(has_waited)
                await asyncio.wait_for(release.wait(), PATIENCE_S)

        tasks = [asyncio.create_task(hold(number)) for number in (1, 2)]
        await settle()
        assert (slots.running, slots.waiting, slots.is_full) == (2, 0, False)
        late = asyncio.create_task(hold(3))
        await settle()
        assert (slots.running, slots.waiting, slots.is_full) == (2, 1, True)
        assert [slot["request"] for slot in slots.describe()] == [1, 2]
        tasks[0].cancel()
        await settle()
        assert [slot["request"] for slot in slots.describe()] == [3, 2]
        release.set()
        await asyncio.gather(tasks[1], late)
        assert slots.describe() == [{"id": 0, "is_processing": False}, {"id": 1, "is_processing": False}]
        assert waited == [False, False, True]

    asyncio.run(run())


def test_one_that_leaves_the_queue_is_no_longer_counted() -> None:
    async def run() -> None:
        slots = SlotQueue(1, 0)
        async with slots.take(Work(1, "/", 1)):

            async def wait() -> None:
                async with slots.take(Work(2, "/", 1)):
                    raise AssertionError("there was no slot")

            waiting = asyncio.create_task(wait())
            await settle()
            assert (slots.waiting, slots.is_full) == (1, False)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert slots.waiting == 0
        assert slots.running == 0

    asyncio.run(run())
