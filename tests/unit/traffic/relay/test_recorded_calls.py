from __future__ import annotations

from pytest_llmperf.traffic.relay.recorded_calls import Ledger, Relayed

PATH = "/v1/completions"


def begun(ledger: Ledger, at_ns: int = 1) -> Relayed:
    call = ledger.begin("POST", PATH, at_ns)
    assert call is not None
    return call


def test_calls_that_come_while_no_test_is_measured_are_only_counted() -> None:
    ledger = Ledger()
    assert ledger.begin("POST", PATH, 1) is None
    assert ledger.begin("GET", "/v1/models", 1) is None
    assert ledger.outside == 1
    ledger.open()
    begun(ledger)
    ledger.take(2, final=True)
    assert ledger.begin("POST", PATH, 3) is None
    assert ledger.outside == 2


def test_what_has_ended_is_taken_once_and_the_rest_at_the_end() -> None:
    ledger = Ledger()
    ledger.open()
    first, second = begun(ledger), begun(ledger)
    ledger.end(first, 5)
    assert ledger.under_way
    assert ledger.take(6, final=False) == [first]
    assert ledger.take(7, final=False) == []
    (found,) = ledger.take(8, final=True)
    assert found is second
    assert (found.fault, found.end_ns) == ("the answer was not complete when the test ended", 8)
    assert found.by_app
    assert not ledger.under_way


def test_what_comes_after_the_end_changes_nothing() -> None:
    ledger = Ledger()
    ledger.open()
    call = begun(ledger)
    ledger.take(5, final=True)
    ledger.keep(call, 9, [b"late"])
    ledger.end(call, 9)
    assert (call.end_ns, call.pieces) == (5, [])
    assert call.fault


def test_more_than_it_may_keep_is_a_fault_of_the_call_and_frees_what_it_held() -> None:
    ledger = Ledger(capacity=2 << 20)
    ledger.open()
    small, large = begun(ledger), begun(ledger)
    ledger.keep(small, 2, [b"x" * 1000])
    ledger.keep(large, 3, [b"x" * (1 << 20)])
    ledger.keep(large, 4, [b"x" * (1 << 20)])
    assert large.fault == "not measured: the relay keeps 2 MiB of a test's answers"
    assert large.pieces == []
    ledger.end(small, 5)
    assert small.fault == ""
    ledger.take(6, final=True)
    ledger.open()
    again = begun(ledger)
    ledger.keep(again, 7, [b"x" * (1 << 20)])
    assert not again.fault
