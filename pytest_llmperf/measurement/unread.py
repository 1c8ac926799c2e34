"""A call to the engine whose answer was not read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class UnreadCall:
    """A call that passed the relay and whose answer was not read, because its path is none of those that are.

    Attributes:
        what: method and path, without a query: ``POST /v1/messages``.
        sent_ns, end_ns: when it was sent and when it ended, or the test did, in ns of ``time.monotonic_ns()``.
        harmless: whether such a call is known to generate no text, or the test says that it is no matter.
    """

    what: str
    sent_ns: int
    end_ns: int
    harmless: bool = False


def describe_unread(calls: Iterable[UnreadCall]) -> str:
    """``3 calls that are not read: 2 POST /infill, 1 POST /v1/messages``; "" without any."""
    return format_unread(Counter(call.what for call in calls))


def format_unread(counted: Mapping[str, int]) -> str:
    """The same of numbers of calls by method and path."""
    total = sum(counted.values())
    if not total:
        return ""
    names = ", ".join(f"{count} {what}" if len(counted) > 1 else what for what, count in sorted(counted.items()))
    return f"1 call that is not read: {names}" if total == 1 else f"{total} calls that are not read: {names}"
