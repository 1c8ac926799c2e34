"""A request that was cancelled on purpose: what came of it, and when the server noticed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CancelledRequest:
    """One request that a test expected to be cancelled. Moments are ns of ``time.monotonic_ns()``.

    Attributes:
        sent_ns: just before the first byte was sent.
        cancelled_ns: when its client closed the connection.
        first_ns: arrival of the first chunk with a token; None if none came, or the answer was not streamed.
        tokens: the output tokens until the cancel, as the chunks state them; None if they do not.
        chunks: the chunks with tokens until the cancel.
        noticed_ns: when the server was first seen to work on it no more; None for the reason in ``reason``.
        how: how that was seen; empty if it was not.
        reason: why it was not; empty if it was.
    """

    sent_ns: int
    cancelled_ns: int
    first_ns: int | None = None
    tokens: int | None = None
    chunks: int = 0
    noticed_ns: int | None = None
    how: str = ""
    reason: str = ""

    @property
    def ttft(self) -> float | None:
        """Time to first token in seconds; None if no token came."""
        return None if self.first_ns is None else (self.first_ns - self.sent_ns) / 1e9

    @property
    def cancelled_after(self) -> float:
        """Seconds from the sending to the cancel."""
        return (self.cancelled_ns - self.sent_ns) / 1e9

    @property
    def noticed_after(self) -> float | None:
        """Seconds from the cancel until the server worked on it no more; None if that was not seen."""
        return None if self.noticed_ns is None else (self.noticed_ns - self.cancelled_ns) / 1e9
