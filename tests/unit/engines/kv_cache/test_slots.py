"""KV cache of slots, from requests written out by hand; times in milliseconds."""

from __future__ import annotations

import pytest

from pytest_llmperf.engines.kv_cache.slots import SlotObservation, Slots
from pytest_llmperf.measurement.window import Window
from tests.helpers.streams import stream

SLOTS = Slots(context=100, token_bytes=8.0)


def test_the_peak_of_one_request_is_its_whole_prompt_and_answer() -> None:
    reading = SLOTS.in_use([stream(10, 20, 30, prompt_tokens=7, output_tokens=3)])
    assert reading.value == 10 * 8
    assert reading.how == "10 tokens of 8 B each, by the requests' own counts"


def test_requests_one_after_another_do_not_add_up_and_those_at_a_time_do() -> None:
    first, later = stream(10, 20, prompt_tokens=5, output_tokens=2), stream(30, 40, prompt_tokens=6, output_tokens=2)
    assert SLOTS.in_use([first, later]).value == 8 * 8
    beside = stream(15, 18, 35, prompt_tokens=6, output_tokens=3)
    # At 20 ms: 5 + 2 of the first, 6 + 2 of the one beside it.
    assert SLOTS.in_use([first, beside]).value == 15 * 8


def test_waste_is_what_running_slots_do_not_hold_over_the_time_they_run() -> None:
    # 10 to 20 ms: 11 tokens of 100; 20 to 40 ms: 12 of 100.
    reading = SLOTS.waste([stream(10, 20, 40, prompt_tokens=10, output_tokens=3)])
    assert reading.value == pytest.approx(1 - (11 * 10 + 12 * 20) / (100 * 30))
    assert reading.how == "slots of 100 tokens"


def test_a_time_at_which_nothing_runs_counts_for_nothing() -> None:
    one = stream(10, 20, prompt_tokens=9, output_tokens=2)
    other = stream(1000, 1010, prompt_tokens=9, output_tokens=2)
    assert SLOTS.waste([one, other]).value == pytest.approx(SLOTS.waste([one]).value)


def test_what_is_not_known_has_a_reason() -> None:
    assert SLOTS.in_use([]).reason == "the test sent no request through llm_client"
    unseen = stream(10, 20, prompt_tokens=9, output_tokens=8)
    assert SLOTS.waste([unseen]).reason == "the server did not say how many tokens each request held over time"
    assert SLOTS.in_use([stream(10, 20, output_tokens=2)]).reason.startswith("the server did not say")
    assert Slots(100, None, "uneven").in_use([]).reason == "uneven"
    single = stream(10, prompt_tokens=9, output_tokens=1)
    assert SLOTS.waste([single]).reason == "no answer was long enough: its tokens came all at once"
    assert SLOTS.in_use([single]).value == 10 * 8


def test_an_observation_adds_them_to_what_the_engine_states() -> None:
    requests, window = [stream(10, 20, prompt_tokens=9, output_tokens=2)], Window(0, 1)
    assert SlotObservation(dict, None).end(requests, window).readings == {}
    readings = SlotObservation(dict, SLOTS).end(requests, window).readings
    assert readings["memory.kv_cache"].value == 11 * 8
    assert readings["memory.kv_waste"].value == pytest.approx(0.9)


def test_the_level_after_each_change_is_seen_once_the_test_has_ended() -> None:
    requests = [stream(10, 20, prompt_tokens=9, output_tokens=2)]
    levels = SLOTS.levels(requests)
    assert [at // 1_000_000 for at, _ in levels] == [10, 10, 20, 20]
    assert [held for _, held in levels][1:] == [10 * 8, 11 * 8, 0]
    assert max(held for _, held in levels) == SLOTS.in_use(requests).value
    assert SlotObservation(dict, SLOTS).end(requests, Window(0, 1)).kv_levels == levels
    assert SlotObservation(dict, SLOTS).read(requests, Window(0, 1)).kv_levels == ()
    assert SLOTS.levels([]) == Slots(100, None, "uneven").levels(requests) == ()
