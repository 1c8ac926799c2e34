"""When a server was seen to work on a cancelled request no more. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.cancelling.cancelled import CancelledRequest
from pytest_llmperf.measurement.chunks import list_stamps, list_stated_counts
from pytest_llmperf.measurement.reading import Missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.request import RequestTiming

# How long other requests of the test may leave it open whether the engine still worked on the cancelled one.
_MOST_DOUBT_NS = 50_000_000


@dataclass(frozen=True)
class RunningLook:
    """One look at an engine: when it was asked and when it answered, in ns, and how many requests it worked on.

    ``running`` is Missing with the reason where it does not tell.
    """

    asked_ns: int
    at_ns: int
    running: int | Missing


def describe_cancelled(
    request: RequestTiming, looks: Sequence[RunningLook], others: Sequence[RequestTiming]
) -> CancelledRequest:
    """What came of a cancelled request; ``others`` are the further requests to its engine."""
    stamps = list_stamps(request.chunks) if request.chunks else []
    counts = list_stated_counts(request.chunks) if request.chunks else None
    noticed = find_notice(request, looks, others)
    return CancelledRequest(
        sent_ns=request.sent_ns,
        cancelled_ns=request.end_ns,
        first_ns=stamps[0] if stamps else None,
        tokens=sum(counts) if counts else None,
        chunks=len(stamps),
        noticed_ns=noticed.at_ns if isinstance(noticed, RunningLook) else None,
        how=_describe_how(request, looks, noticed, others) if isinstance(noticed, RunningLook) else "",
        reason="" if isinstance(noticed, RunningLook) else noticed.reason,
    )


def find_notice(
    request: RequestTiming, looks: Sequence[RunningLook], others: Sequence[RequestTiming]
) -> RunningLook | Missing:
    """The first look after the cancel at which the engine worked on no more requests than on others of the test.

    Only those others count that it had certainly begun and not ended, so that what is found may be late and is never
    early. Where it may be much too late, because another one waited for its first token, it is Missing.
    """
    silent = next((look.running for look in looks if isinstance(look.running, Missing)), None)
    if silent is not None:
        return silent
    after = [look for look in looks if look.asked_ns >= request.end_ns]
    if not after:
        return Missing("the engine was not asked after the cancel")
    free = _find_free(after, others)
    if not request.chunks and not _was_seen(request, looks, others):
        return Missing("it was cancelled before its first token, and the engine was not seen to work on it")
    if free is not None:
        doubt_ns = free.at_ns - next(look.at_ns for look in after if _may_be_free(look, others))
        if doubt_ns > _MOST_DOUBT_NS:
            return Missing(
                f"for {doubt_ns / 1e9:.3g} s another request of the test waited for its first token, and the engine "
                "does not tell which one it worked on: send further ones after the block"
            )
        return free
    running, seconds = after[-1].running, (after[-1].at_ns - request.end_ns) / 1e9
    what = "1 request" if running == 1 else f"{running} requests"
    return Missing(f"the engine still worked on {what} {seconds:.3g} s after the cancel")


def has_ended(request: RequestTiming, looks: Sequence[RunningLook], others: Sequence[RequestTiming]) -> bool:
    """Whether a further look can tell nothing more of a cancelled request: the engine was idle, or does not tell."""
    is_silent = any(isinstance(look.running, Missing) for look in looks)
    return is_silent or _find_free([look for look in looks if look.asked_ns >= request.end_ns], others) is not None


def _find_free(looks: Sequence[RunningLook], others: Sequence[RequestTiming]) -> RunningLook | None:
    return next((look for look in looks if _count_foreign(look, others) <= 0), None)


def _was_seen(request: RequestTiming, looks: Sequence[RunningLook], others: Sequence[RequestTiming]) -> bool:
    during = [look for look in looks if request.sent_ns <= look.asked_ns and look.at_ns <= request.end_ns]
    return any(_count_foreign(look, others) > 0 for look in during)


def _count_foreign(look: RunningLook, others: Sequence[RequestTiming]) -> int:
    """How many requests the engine worked on beyond those of the others that it certainly worked on."""
    if isinstance(look.running, Missing):
        return 0
    return look.running - sum(1 for other in others if _was_running(other, look))


def _may_be_free(look: RunningLook, others: Sequence[RequestTiming]) -> bool:
    """Whether all that the engine worked on may have been other requests."""
    if isinstance(look.running, Missing):
        return True
    return look.running <= sum(1 for other in others if other.sent_ns <= look.at_ns and other.end_ns >= look.asked_ns)


def _was_running(other: RequestTiming, look: RunningLook) -> bool:
    begun = other.chunks and list_stamps(other.chunks)[0] <= look.asked_ns
    return bool(begun) and other.end_ns >= look.at_ns


def _describe_how(
    request: RequestTiming, looks: Sequence[RunningLook], noticed: RunningLook, others: Sequence[RequestTiming]
) -> str:
    before = [look.asked_ns for look in looks if look.asked_ns < noticed.asked_ns and not _may_be_free(look, others)]
    late_ns = noticed.at_ns - max([request.end_ns, *before])
    return f"by how many requests the engine says it works on; late by {late_ns / 1e6:.1f} ms at most"
