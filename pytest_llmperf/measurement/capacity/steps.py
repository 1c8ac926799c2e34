"""A search for the highest rate, as client and judge speak of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchOptions:
    """How a search goes on, and when it ends.

    Attributes:
        start, lowest, highest: rates in requests per second; None to find them.
        precision: how far the truth may lie from the rate at the end of the search, as a share of it.
        until_decided: whether it ends as soon as the limit on the rate is decided.
        most_requests: how many it may send; None for no limit.
    """

    start: float | None = None
    lowest: float | None = None
    highest: float | None = None
    precision: float = 0.05
    until_decided: bool = False
    most_requests: int | None = None


@dataclass(frozen=True)
class SearchStep:
    """What a search sends next.

    Attributes:
        rate: requests per second of a Poisson process; None for one request at a time.
        requests: how many.
        warmup: how many of them come first and are not judged.
    """

    rate: float | None
    requests: int
    warmup: int
