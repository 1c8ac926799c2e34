from __future__ import annotations

from pytest_llmperf.traffic.relay.recorded_calls import UNENDED, RecordedCall, RecordedCalls

PATH = "/v1/completions"


def begun(recorded: RecordedCalls, at_ns: int = 1, path: str = PATH) -> RecordedCall:
    call = recorded.begin("POST", path, at_ns)
    assert call is not None
    return call


def test_calls_that_come_while_no_test_is_measured_are_only_counted() -> None:
    recorded = RecordedCalls()
    begun(recorded)
    assert recorded.begin("GET", "/v1/models", 1) is None
    begun(recorded, path="/tokenize")
    assert recorded.outside == 1
    recorded.open(1)
    own = begun(recorded)
    assert recorded.take(2, final=True) == [own]
    begun(recorded)
    begun(recorded, path="/v1/messages")
    assert recorded.outside == 3


def test_a_call_that_runs_on_is_left_over_for_each_test_until_it_is_over() -> None:
    recorded = RecordedCalls()
    outside = begun(recorded, 1)
    recorded.open(10)
    own = begun(recorded, 11)
    assert recorded.left_over == [1]
    recorded.take(12, final=True)
    recorded.open(20)
    recorded.end(outside, 15)
    assert recorded.left_over == [11]
    recorded.end(own, 25)
    assert recorded.left_over == [11]
    recorded.take(30, final=True)
    recorded.open(40)
    assert recorded.left_over == []


def test_a_call_that_is_not_read_is_recorded_without_its_answer() -> None:
    recorded = RecordedCalls()
    recorded.open(1)
    call = begun(recorded, path="/v1/audio/speech")
    recorded.add_content(call, 5, [b"text"])
    recorded.end(call, 6)
    assert recorded.take(7, final=True) == [call]
    assert (call.read, call.pieces, call.end_ns) == (False, [], 6)


def test_what_has_ended_is_taken_once_and_the_rest_at_the_end() -> None:
    recorded = RecordedCalls()
    recorded.open(1)
    first, second = begun(recorded), begun(recorded)
    recorded.end(first, 5)
    assert recorded.in_flight
    assert recorded.take(6, final=False) == [first]
    assert recorded.take(7, final=False) == []
    (found,) = recorded.take(8, final=True)
    assert found is second
    assert (found.fault, found.end_ns) == (UNENDED, 8)
    assert found.by_app
    assert not recorded.in_flight


def test_what_comes_after_the_end_changes_nothing() -> None:
    recorded = RecordedCalls()
    recorded.open(1)
    call = begun(recorded)
    recorded.take(5, final=True)
    recorded.add_content(call, 9, [b"late"])
    recorded.end(call, 9)
    assert (call.end_ns, call.pieces) == (5, [])
    assert call.fault


def test_more_than_it_may_keep_is_a_fault_of_the_call_and_frees_what_it_held() -> None:
    recorded = RecordedCalls(capacity=2 << 20)
    recorded.open(1)
    small, large = begun(recorded), begun(recorded)
    recorded.add_content(small, 2, [b"x" * 1000])
    recorded.add_content(large, 3, [b"x" * (1 << 20)])
    recorded.add_content(large, 4, [b"x" * (1 << 20)])
    assert large.fault == "not measured: the relay keeps 2 MiB of a test's answers"
    assert large.pieces == []
    recorded.end(small, 5)
    assert small.fault == ""
    recorded.take(6, final=True)
    recorded.open(1)
    again = begun(recorded)
    recorded.add_content(again, 7, [b"x" * (1 << 20)])
    assert not again.fault
