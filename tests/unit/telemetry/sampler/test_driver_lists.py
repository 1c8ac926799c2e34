"""The lists of a device's processes, as telemetry/sampler/driver_lane.py takes them from a scripted driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.measurement.device_trace import DeviceProcess
from pytest_llmperf.telemetry.records.ring import (
    ENGINE_SHARE,
    FAULT,
    KNOWN,
    LISTED,
    MAPPED,
    MATCHED,
    OURS,
    POWER,
    PROCESS,
    STEADY,
    TEMPERATURE,
    VISIBLE,
)
from pytest_llmperf.telemetry.records.source import Why
from tests.helpers.driver_double import ENGINE, GIB, OTHER_ENGINE, ScriptedDriver, failure, kinds, lane

if TYPE_CHECKING:
    from tests.helpers.driver_double import Make

__all__ = ["lane"]


def test_each_process_of_a_list_says_whose_it_is_and_what_it_holds(lane: Make) -> None:
    processes = [
        DeviceProcess(101, "VLLM::EngineCor", GIB),
        DeviceProcess(9102, "", 2 * GIB),
        DeviceProcess(300, "python", GIB),
        DeviceProcess(400, "trainer", None),
        DeviceProcess(7000, "", GIB),
    ]
    one = lane(
        ScriptedDriver(lists={2: processes}),
        owners={101: (ENGINE, MATCHED), 9102: (ENGINE, MAPPED)},
        visible={101, 300, 400},
        ours={300},
    )
    records = [r for r in one.edge() if r.lane in (PROCESS, ENGINE_SHARE, LISTED)]
    assert [(r.detail, r.value, r.flags) for r in records if r.lane == PROCESS] == [
        (101, GIB, MATCHED | VISIBLE | KNOWN),
        (9102, 2 * GIB, MAPPED | KNOWN),
        (300, GIB, VISIBLE | OURS | KNOWN),
        (400, 0, VISIBLE),
        (7000, GIB, KNOWN),
    ]
    assert [(r.detail, r.value, r.flags) for r in records if r.lane == ENGINE_SHARE] == [
        (ENGINE, 3 * GIB, MATCHED | MAPPED | KNOWN),
        (OTHER_ENGINE, 0, KNOWN),
    ]
    assert [(r.value, r.detail, r.flags) for r in records if r.lane == LISTED] == [(GIB, 5, STEADY)]
    assert len({r.t_ns for r in records}) == 1
    assert one.lane.names == {101: "VLLM::EngineCor", 300: "python", 400: "trainer"}


@pytest.mark.parametrize("unknown", [0, 1])
def test_a_share_is_known_only_if_every_part_of_it_is(unknown: int, lane: Make) -> None:
    held: list[int | None] = [GIB, GIB]
    held[unknown] = None
    one = lane(
        ScriptedDriver(lists={2: [DeviceProcess(101 + i, "", used) for i, used in enumerate(held)]}),
        owners={101: (ENGINE, MATCHED), 102: (ENGINE, MATCHED)},
    )
    (share, _) = [r for r in one.edge() if r.lane == ENGINE_SHARE]
    assert (share.value, share.flags) == (GIB, MATCHED)


@pytest.mark.parametrize(
    ("levels", "lists", "level", "steady"),
    [
        ([5, 5], 1, 5, True),
        ([5, 5 + 1 / 1024], 1, 5 + 1 / 1024, True),
        ([5, 5 + 2 / 1024, 5 + 2 / 1024], 2, 5 + 2 / 1024, True),
        ([5, 6, 7, 7], 3, 7, True),
        ([5, 6, 7, 8], 3, 8, False),
        ([8, 7, 6, 5], 3, 5, False),
    ],
    ids=["still", "less than a page", "a page of 2 MiB", "still at last", "rising", "falling"],
)
def test_a_list_is_taken_again_while_the_level_moves(
    levels: list[float], lists: int, level: float, steady: bool, lane: Make
) -> None:
    driver = ScriptedDriver()
    driver.level[2].answers = [round(one * GIB) for one in levels]
    (end,) = [r for r in lane(driver).edge() if r.lane == LISTED]
    assert (driver.listed, end.value, bool(end.flags & STEADY)) == (lists, round(level * GIB), steady)


@pytest.mark.parametrize(("why", "asked"), [(Why.TRANSIENT, 2), (Why.ABSENT, 1), (Why.LOST, 1)])
def test_a_list_that_the_driver_refuses_is_no_list(why: Why, asked: int, lane: Make) -> None:
    driver = ScriptedDriver(lists={2: failure(why)})
    one = lane(driver)
    assert kinds(one.edge()) == [FAULT, TEMPERATURE, POWER]
    one.edge()
    assert (driver.listed, one.told[0]) == (asked, (2, PROCESS, f"it is {why.value}"))


def test_a_level_that_cannot_be_read_once_makes_no_list_that_once(lane: Make) -> None:
    driver = ScriptedDriver()
    driver.level[2].answers = [failure(Why.TRANSIENT), GIB]
    one = lane(driver)
    assert LISTED not in kinds(one.edge())
    assert LISTED in kinds(one.edge())
