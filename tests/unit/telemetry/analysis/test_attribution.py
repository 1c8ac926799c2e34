"""Whose memory it is, from the lists of processes: telemetry/attribution.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.analysis.attribution import Baseline, find_attribution, read_listings, select_surrounding
from pytest_llmperf.telemetry.records.ring import KNOWN, MAPPED, MATCHED, OURS, VISIBLE, RingRecord
from tests.helpers.process_lists import (
    ENGINE,
    GIB,
    L4,
    MS,
    NOBODY,
    OTHER_ENGINE,
    PYTEST,
    SOMEBODY,
    STRANGER,
    WINDOW,
    listed,
    matched,
    read,
)

if TYPE_CHECKING:
    from pytest_llmperf.measurement.memory_trace import Attribution


# ----------------------------------------------------------------------------------------------------------- the lists


def test_a_list_tells_the_engine_from_the_others_of_this_run_and_from_strangers() -> None:
    (one,) = read(
        listed(
            5,
            9,
            (101, 2, MATCHED | VISIBLE),
            (102, 1, MATCHED | VISIBLE),
            (201, 1, MATCHED | VISIBLE),
            (PYTEST, 0.5, OURS | VISIBLE),
            (STRANGER, 3, VISIBLE),
            (SOMEBODY, 1, 0),
            shares=[(ENGINE, 3, MATCHED | KNOWN), (OTHER_ENGINE, 1, MATCHED | KNOWN), (250, 0, KNOWN)],
        )
    )
    assert (one.t_ns, one.level, one.steady, one.held, one.mapped) == (5 * MS, 9 * GIB, True, 3 * GIB, False)
    assert one.others == {STRANGER, SOMEBODY}
    assert one.strangers == {STRANGER}
    assert one.neighbours == {OTHER_ENGINE, PYTEST}
    assert one.everybody == {STRANGER, SOMEBODY, OTHER_ENGINE, PYTEST}
    assert one.present


def test_an_engine_with_several_roots_holds_their_sum() -> None:
    records = listed(5, 9, shares=[(1, 2, MATCHED | KNOWN), (2, 3, MATCHED | KNOWN), (3, 0, KNOWN)])
    (one,) = read_listings(records, L4.slot, [1, 2, 3])
    assert one.held == 5 * GIB


def test_an_engine_whose_memory_the_driver_does_not_state_is_there_but_holds_nobody_knows_what() -> None:
    (one,) = read(listed(5, 9, (ENGINE, None, MATCHED), shares=[(ENGINE, 0, MATCHED)]))
    assert (one.held, one.present) == (None, True)


def test_an_engine_that_is_not_in_the_list_holds_nobody_knows_what() -> None:
    (one,) = read(listed(5, 9, (SOMEBODY, 3, 0), shares=[(ENGINE, 0, KNOWN)]))
    assert (one.held, one.present) == (None, False)


def test_lists_of_other_devices_and_those_without_an_end_are_passed_over() -> None:
    unfinished = matched(7, 3, 2)[:-1]
    elsewhere = listed(6, 9, slot=L4.slot + 1)
    assert [one.t_ns for one in read(matched(5, 3, 2), elsewhere, unfinished)] == [5 * MS]


def test_the_lists_of_a_window_are_those_inside_it_and_one_on_either_side() -> None:
    lists = read(*(matched(t, 3, 2) for t in (100, 900, 1000, 1500, 2001, 2500)))
    assert [one.t_ns // MS for one in select_surrounding(lists, WINDOW)] == [1000, 1500, 2001]
    assert [one.t_ns // MS for one in select_surrounding(lists[4:], WINDOW)] == [2001]
    assert [one.t_ns // MS for one in select_surrounding(lists[:2], WINDOW)] == [900]
    assert select_surrounding([], WINDOW) == []


def test_the_last_list_with_the_engine_comes_along_when_it_had_left_before_the_window() -> None:
    lists = read(matched(100, 3, 2), matched(200, 3, 2), listed(500, 1), listed(900, 1), listed(2100, 1))
    assert [one.t_ns // MS for one in select_surrounding(lists, WINDOW)] == [200, 900, 2100]


# ---------------------------------------------------------------------------------------------------------- the ladder

WITH_ENGINE = matched(990, 5, 3)
EMPTY = listed(990, 5)


@pytest.mark.parametrize(
    ("attribution", "lists", "baseline"),
    [
        ("pids", [WITH_ENGINE], NOBODY),
        ("pids", [WITH_ENGINE], None),
        ("pids", [EMPTY, matched(1500, 5, 3)], None),
        ("nspid", [matched(990, 5, 3, MAPPED)], None),
        ("exclusive", [EMPTY], NOBODY),
        ("exclusive", [listed(990, 5, (SOMEBODY, 3, 0))], NOBODY),
        ("exclusive", [listed(990, 5, (SOMEBODY, None, 0), (SOMEBODY + 1, None, 0))], NOBODY),
        ("exclusive", [listed(990, 5, (ENGINE, None, MATCHED), shares=[(ENGINE, 0, MATCHED)])], NOBODY),
        ("rise", [listed(990, 5, (STRANGER, 3, VISIBLE))], NOBODY),
        ("rise", [EMPTY, listed(1500, 5, (STRANGER, 3, VISIBLE))], NOBODY),
        ("rise", [EMPTY], Baseline(GIB, frozenset({SOMEBODY}))),
        ("rise", [EMPTY], Baseline(GIB, None)),
        ("rise", [listed(990, 5, (PYTEST, 1, OURS))], NOBODY),
        ("rise", [listed(990, 5, shares=[(OTHER_ENGINE, 1, MATCHED | KNOWN)])], NOBODY),
        ("rise", [], NOBODY),
        ("device", [EMPTY], None),
        ("device", [], None),
    ],
    ids=[
        "pids",
        "pids without a baseline",
        "pids found later",
        "pids of another namespace",
        "an empty list",
        "a process that may be the engine",
        "processes of unknown size",
        "the engine with unknown size",
        "a stranger is there",
        "a stranger came",
        "somebody was there before",
        "nobody knows who was there before",
        "a process of this run beside the engine",
        "another engine of this run",
        "no list at all",
        "a list, but no baseline",
        "nothing at all",
    ],
)
def test_the_attribution_is_the_surest_that_holds(
    attribution: Attribution, lists: list[list[RingRecord]], baseline: Baseline | None
) -> None:
    assert find_attribution(read(*lists), baseline) == attribution


@pytest.mark.parametrize(("baseline", "attribution"), [(NOBODY, "unified"), (None, "device")])
def test_a_device_in_the_hosts_memory_has_an_attribution_of_its_own_if_there_is_a_baseline(
    baseline: Baseline | None, attribution: Attribution
) -> None:
    assert find_attribution(read(WITH_ENGINE), baseline, unified=True) == attribution
