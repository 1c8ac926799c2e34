"""One request as it was timed: what latencies and rates are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.chunks import Chunk
    from pytest_llmperf.measurement.load import Phase


@dataclass(frozen=True)
class ServerTimes:
    """What a server says of the time that one request took it, in ns; None where it is silent.

    ``startup`` is all until a running model was granted; ``prompt`` ends with the first token, ``decode`` begins there.
    """

    startup: int | None = None
    prompt: int | None = None
    decode: int | None = None
    total: int | None = None

    @property
    def queue(self) -> int | None:
        """What none of the parts accounts for: waiting for a slot, and a little work between the parts."""
        if self.total is None:
            return None
        return max(0, self.total - sum(part or 0 for part in (self.startup, self.prompt, self.decode)))


@dataclass(frozen=True, slots=True)
class RequestTiming:
    """One request, stamped at the socket.

    ``sent_ns`` is the moment before the first byte is sent (in an open loop latency counts from ``scheduled_ns``
    instead), ``end_ns`` the arrival of the last byte. Token counts are the server's; None where it gave none.
    ``error`` is None for a request that was answered in full. ``shared_prefix`` says that the test let its prompt come
    from a cache. ``server`` are the times that the server itself has taken, None where it says nothing of them. Under
    load only requests of the ``steady`` phase are judged.
    """

    sent_ns: int
    end_ns: int
    chunks: Sequence[Chunk] = ()
    output_tokens: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    streamed: bool = True
    status: int | None = None
    finish_reason: str | None = None
    error: str | None = None
    scheduled_ns: int | None = None
    shared_prefix: bool = False
    server: ServerTimes | None = None
    phase: Phase = "steady"

    @property
    def start_ns(self) -> int:
        """What latencies count from: the scheduled moment where there is one, else the moment of sending."""
        return self.sent_ns if self.scheduled_ns is None else self.scheduled_ns
