"""Whether requests waited for a slot that the test itself had not taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.engines.attached.slots import LINGER_NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.request import RequestTiming

# What a server does between the parts that it times may take as long: tokenizing, and waiting for a processor.
WORK_NS = 100_000_000
# A shorter wait changes the request's own times by less.
SHARE = 0.1


def explain_queue(requests: Sequence[RequestTiming], slots: int) -> str:
    """Why others must have held slots that the test's requests waited for, in one sentence; "" if they need not.

    ``slots`` is how many requests the server answers at a time.
    """
    waits = [wait for request in requests if (wait := _find_foreign_wait(request, requests, slots))]
    if not waits:
        return ""
    return (
        f"others used the server: {len(waits)} of {len(requests)} requests waited up to {max(waits) / 1e6:.0f} ms for "
        "a slot that no request of the test had (or calls went past llm_client)"
    )


def _find_foreign_wait(request: RequestTiming, requests: Sequence[RequestTiming], slots: int) -> int:
    """How long a request waited for a slot, in ns; 0 if it did not, or the test's own requests had all of them."""
    times = request.server
    wait = times.queue if times is not None else None
    if times is None or wait is None:
        return 0
    answering = (times.prompt or 0) + (times.decode or 0)
    if wait <= max(WORK_NS, SHARE * answering):
        return 0
    waited_until = request.sent_ns + (times.startup or 0) + wait
    others = sum(
        1
        for other in requests
        if other is not request and other.sent_ns <= waited_until and other.end_ns + LINGER_NS >= request.sent_ns
    )
    return wait if others < slots else 0
