from __future__ import annotations

from pytest_llmperf.traffic.relay.recorded_calls import RecordedCall, RecordedCalls

PATH = "/v1/completions"


def begun(recorded: RecordedCalls, at_ns: int = 1) -> RecordedCall:
    call = recorded.begin("POST", PATH, at_ns)
    assert call is not None
    return call


def test_calls_that_come_while_no_test_is_measured_are_only_counted() -> None:
    recorded = RecordedCalls()
    assert recorded.begin("POST", PATH, 1) is None
    assert recorded.begin("GET", "/v1/models", 1) is None
    assert recorded.outside == 1
    recorded.open()
    begun(recorded)
    recorded.take(2, final=True)
    assert recorded.begin("POST", PATH, 3) is None
    assert recorded.outside == 2


def test_what_has_ended_is_taken_once_and_the_rest_at_the_end() -> None:
    recorded = RecordedCalls()
    recorded.open()
    first, second = begun(recorded), begun(recorded)
    recorded.end(first, 5)
    assert recorded.in_flight
    assert recorded.take(6, final=False) == [first]
    assert recorded.take(7, final=False) == []
    (found,) = recorded.take(8, final=True)
    assert found is second
    assert (found.fault, found.end_ns) == ("the answer was not complete when the test ended", 8)
    assert found.by_app
    assert not recorded.in_flight


def test_what_comes_after_the_end_changes_nothing() -> None:
    recorded = RecordedCalls()
    recorded.open()
    call = begun(recorded)
    recorded.take(5, final=True)
    recorded.add_content(call, 9, [b"late"])
    recorded.end(call, 9)
    assert (call.end_ns, call.pieces) == (5, [])
    assert call.fault


def test_more_than_it_may_keep_is_a_fault_of_the_call_and_frees_what_it_held() -> None:
    recorded = RecordedCalls(capacity=2 << 20)
    recorded.open()
    small, large = begun(recorded), begun(recorded)
    recorded.add_content(small, 2, [b"x" * 1000])
    recorded.add_content(large, 3, [b"x" * (1 << 20)])
    recorded.add_content(large, 4, [b"x" * (1 << 20)])
    assert large.fault == "not measured: the relay keeps 2 MiB of a test's answers"
    assert large.pieces == []
    recorded.end(small, 5)
    assert small.fault == ""
    recorded.take(6, final=True)
    recorded.open()
    again = begun(recorded)
    recorded.add_content(again, 7, [b"x" * (1 << 20)])
    assert not again.fault
