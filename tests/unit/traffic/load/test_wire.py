"""Timings on their way from the load client to pytest."""

from __future__ import annotations

import pytest

from pytest_llmperf.traffic.load.wire import Strings, pack_timing, unpack_timings
from tests.helpers.streams import stream


@pytest.mark.parametrize(("drafted", "accepted"), [(None, None), (0, 0), (2**40, 7)])
def test_drafts_arrive_as_they_were_counted(drafted: int | None, accepted: int | None) -> None:
    sent = stream(10, 20, hidden_tokens=1, output_tokens=3, drafted_tokens=drafted, accepted_tokens=accepted)
    strings = Strings()
    ((number, came),) = unpack_timings(pack_timing(5, sent, strings), strings.known)
    assert number == 5
    assert (came.drafted_tokens, came.accepted_tokens) == (drafted, accepted)
    assert (came.hidden_tokens, came.output_tokens, came.ttft) == (1, 3, None)
