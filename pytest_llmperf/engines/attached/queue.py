"""Whether requests waited for a slot that the test itself had not taken.

What a server has not timed itself may be a wait for a slot, or for a core of a busy host: what its threads have waited
for cores that others used is taken off.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from pytest_llmperf.engines.attached.core_waits import NOTHING_SEEN, CoreWaits
from pytest_llmperf.engines.attached.slots import LINGER_NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.request import RequestTiming

# What a server does between the parts that it times may take as long: tokenizing, and waiting for a processor.
WORK_NS = 100_000_000
# A shorter wait changes the request's own times by less.
SHARE = 0.1
# What may be lost of the time of slots for which requests wait.
LOST_SHARE = 0.3


def explain_queue(requests: Sequence[RequestTiming], slots: int, cores: CoreWaits = NOTHING_SEEN) -> str:
    """Why others must have held slots that the test's requests waited for, in one sentence; "" if they need not.

    ``slots`` is how many requests the server answers at a time, ``cores`` what its threads waited for.
    """
    waits = [wait for request in requests if (wait := _find_foreign_wait(request, requests, slots, cores))]
    if not waits:
        return _explain_lost_time(requests, slots, cores)
    return (
        f"others used the server: {len(waits)} of {len(requests)} requests waited up to {max(waits) / 1e6:.0f} ms for "
        "a slot that no request of the test had (or calls went past llm_client)"
    )


def _find_foreign_wait(request: RequestTiming, requests: Sequence[RequestTiming], slots: int, cores: CoreWaits) -> int:
    """How long a request waited for a slot, in ns; 0 if it did not, or the test's own requests had all of them."""
    times = request.server
    wait = times.queue if times is not None else None
    if times is None or wait is None:
        return 0
    answering = (times.prompt or 0) + (times.decode or 0)
    began = request.sent_ns + (times.startup or 0)
    least = max(WORK_NS, SHARE * answering)
    if wait <= least:
        return 0
    others = [
        other
        for other in requests
        if other is not request and other.sent_ns <= request.end_ns and other.end_ns + LINGER_NS >= request.sent_ns
    ]
    foreign = _find_free_time(began, began + wait, others, slots)
    stood_still = cores.find_most(request.sent_ns, began + wait)
    if all(other.error is None and other.end_ns <= request.sent_ns for other in others):
        # What the server ran beyond the request's own answer it ran for others.
        stood_still = min(stood_still, cores.find_idle(request.sent_ns, request.end_ns))
    return wait if foreign - stood_still > least else 0


def _find_free_time(begin_ns: int, end_ns: int, others: Sequence[RequestTiming], slots: int) -> int:
    """How long between two moments a slot was without any of these requests, in ns.

    One that failed may have been given up by its client, and keeps its slot until the server has noticed.
    """
    changes = []
    for other in others:
        first = max(begin_ns, other.sent_ns)
        last = min(end_ns, other.end_ns + LINGER_NS) if other.error is None else end_ns
        if first < last:
            changes += [(first, 1), (last, -1)]
    free_ns = held = 0
    before_ns = begin_ns
    for at_ns, change in [*sorted(changes), (end_ns, 0)]:
        free_ns += at_ns - before_ns if held < slots else 0
        held, before_ns = held + change, at_ns
    return free_ns


def _explain_lost_time(requests: Sequence[RequestTiming], slots: int, cores: CoreWaits) -> str:
    """Why the slots did not answer the test's requests for long enough while some of these waited; "" if they did."""
    if any(r.server is None or r.server.total is None or r.error is not None for r in requests):
        return ""
    # What is in flight, and what of it is being answered, changes at these moments.
    changes = []
    for request in requests:
        times = request.server
        answering_ns = ((times.prompt or 0) + (times.decode or 0)) if times is not None else 0
        begin_ns = max(request.sent_ns, request.end_ns - answering_ns)
        changes += [(request.sent_ns, 1, 0), (begin_ns, 0, 1), (request.end_ns, -1, -1)]
    changes.sort()
    crowded_ns = answered_ns = sent = answered = 0
    for (at_ns, came, begun), (next_ns, _, _) in pairwise(changes):
        sent, answered = sent + came, answered + begun
        if sent > slots:
            crowded_ns += slots * (next_ns - at_ns)
            answered_ns += min(slots, answered) * (next_ns - at_ns)
    lost_ns = round((crowded_ns - answered_ns) * (1 - _find_share_without_cores(requests, cores)))
    if lost_ns <= max(WORK_NS * len(requests), LOST_SHARE * crowded_ns):
        return ""
    return (
        f"others used the server: while requests of the test waited for a slot, it answered them for "
        f"{answered_ns / crowded_ns:.0%} of the time only (or calls went past llm_client)".replace("%", " %")
    )


def _find_share_without_cores(requests: Sequence[RequestTiming], cores: CoreWaits) -> float:
    """The share of the requests' time in which the server may have stood still for want of a core."""
    start_ns = min((request.sent_ns for request in requests), default=0)
    end_ns = max((request.end_ns for request in requests), default=0)
    return min(1.0, cores.find_most(start_ns, end_ns) / max(1, end_ns - start_ns))
