from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pytest_llmperf.measurement.window import Window
from pytest_llmperf.plugin.measuring.left_overs import REQUEST, LeftOver, LeftOvers, Owner

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.engine import Engine


def left(begun_ns: int, ended_ns: int | None = None) -> LeftOver:
    return LeftOver(Owner("test_it.py::test_it"), REQUEST, begun_ns, cast("Engine", None), ended_ns)


def test_what_ran_in_a_window_is_found_however_often_and_for_whatever_part_it_is_asked() -> None:
    ended, running, later = left(1, 15), left(2), left(30)
    all_of_them = LeftOvers()
    for one in (ended, running, later):
        all_of_them.add(one)
    whole, end = Window(10, 20), Window(19, 20)
    assert all_of_them.find_running(end) == [running]
    assert all_of_them.find_running(whole) == [ended, running]
    all_of_them.forget_ended()
    assert all_of_them.find_running(whole) == [running]
