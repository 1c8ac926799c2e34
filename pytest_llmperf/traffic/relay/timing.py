"""The timing of a call that the relay has recorded."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.request import StampLag
from pytest_llmperf.traffic.answers import openai
from pytest_llmperf.traffic.answers.answer import Arrival
from pytest_llmperf.traffic.answers.endings import NO_ANSWER
from pytest_llmperf.traffic.answers.reading import read_or_fail
from pytest_llmperf.traffic.relay.encodings import create_decoder
from pytest_llmperf.traffic.relay.paths import find_endpoint
from pytest_llmperf.traffic.relay.recorded_calls import HUNG_UP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.traffic.relay.recorded_calls import RecordedCall

    Pieces = Sequence[tuple[int, bytes]]

# Servers quote keys in their error messages.
_KEY = re.compile(r"\b(sk-|Bearer\s+)[\w.~+/=*-]{4,}")


def read_timing(call: RecordedCall) -> RequestTiming | None:
    """Parses the timing of a call; None for one that only loads or unloads a model.

    ``error`` says in one line what is wrong with the answer. ``shared_prefix`` is True: whether a prompt may come
    from the prefix cache is the app's choice.
    """
    pieces, fault = _decompress(call)
    arrival = Arrival(
        sent_ns=call.sent_ns,
        end_ns=call.end_ns,
        pieces=pieces,
        status=call.status,
        content_type=call.content_type,
        shared_prefix=True,
        fault=fault,
        asked_tokens=call.asked_tokens,
        full_length=call.full_length,
        several=call.several,
        asked_inputs=call.asked_inputs,
        asked_results=call.asked_results,
    )
    endpoint = find_endpoint(call.path)
    read = openai.read if endpoint is None else endpoint.read
    timing = read_or_fail(read, arrival).timing
    refused = call.status is not None and call.status >= 400
    if timing.error is not None and (call.by_app or call.app_finished) and not refused:
        # An app that has read the finish reason need not read on.
        whole = read_or_fail(read, replace(arrival, fault="")).timing
        if whole.error is None:
            timing = whole
        else:
            cause = _explain_hang_up(call, timing.error or "")
            timing = replace(timing, error=cause, cancelled=cause.startswith(HUNG_UP))
    if timing.finish_reason in NO_ANSWER:
        return None
    error = None if timing.error is None else _KEY.sub(r"\1***", timing.error)
    lag = (
        None if call.late_ns is None else StampLag("app", 0, call.late_ns)
    )  # a request that is stamped late is forwarded late
    fault = timing.count_fault or call.count_fault
    return replace(
        timing, error=error, prompt=call.prompt, lag=lag, work=call.work, count_fault=fault, adapter=call.adapter
    )


def _explain_hang_up(call: RecordedCall, error: str) -> str:
    """Why a call failed whose app closed the connection, which a server may report as an error of its own."""
    cause = call.fault if call.by_app else HUNG_UP
    return cause if error == cause else f"{cause} ({error})"


def _decompress(call: RecordedCall) -> tuple[Pieces, str]:
    """Decompresses the pieces of a call; returns them and why the call failed, or ""."""
    if call.content_encoding in ("", "identity"):
        return call.pieces, call.fault
    decoder = create_decoder(call.content_encoding)
    if decoder is None:
        cure = "let the app send Accept-Encoding: identity"
        return (), call.fault or f"an answer in {call.content_encoding} cannot be decoded: {cure}"
    try:
        return [(at_ns, decoder.decompress(data)) for at_ns, data in call.pieces], call.fault
    except zlib.error:
        return (), call.fault or f"the answer is not valid {call.content_encoding}, which its Content-Encoding states"
