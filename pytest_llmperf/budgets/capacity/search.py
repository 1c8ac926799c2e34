"""A search for the highest rate at which the latency limits of a test hold: which rate comes next, and when it ends.

It begins with single requests, doubles the rate until a limit is broken, and then stays about the knee, a little above
it and a little below by turns, in steps that grow. Each step begins and ends with an empty queue. All steps tell where
the knee is, so that none is long enough to decide by itself, and an overload is short.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.capacity.knee import find_knee
from pytest_llmperf.budgets.confidence.distributions import t_quantile
from pytest_llmperf.budgets.confidence.rates import count_freedom
from pytest_llmperf.measurement.capacity.steps import SearchOptions, SearchStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.budgets.capacity.knee import Knee, ShareAtRate

ERROR = 0.01
_ERROR_AT_EACH_LOOK = 0.002
_SURE = 0.975
PROBE = 8
_SHORT, _SHORT_WARMUP = 80, 24
_LONG, _MOST, _LONG_WARMUP = 240, 800, 60
_ENOUGH = 6
"""Long steps, from which on the short ones of the beginning do not count: a queue of theirs has hardly begun."""
_FLAT, _SEEN = 2.5, 3
"""A slope below that of all queues, and the long steps from which on it is believed."""
_LOOKS = 2
"""Steps after which the rate must be precise, or a limit on it decided: after one it may look so by luck."""
_BIAS = 0.012
"""What steps that begin with an empty queue may leave of error however many they are, as a share of the rate."""
_WIDE = 0.35
"""How far each bound may lie from the knee, as a logarithm, before steps become long."""
_ABOVE, _BELOW = 1.05, 0.96
_FASTEST_RISE, _FASTEST_FALL = 2.0, 3.0
"""Factors from the highest rate up, and from the lowest one down: one overload says little of where the knee is."""
_FILLED, _JUDGED = 2.0, 2.0
"""How many times as long as a request a step is sent before it is judged, and while it is: a batch fills slowly."""
_FIRST_STEP_S = 60.0
_ALONE = 0.1
"""Mean number of requests at a time below which none waits for another."""


@dataclass(frozen=True)
class RateEstimate:
    """Where the highest rate is, in requests per second.

    ``low`` and ``high`` are as far from it, as logarithms; ``noise`` is the standard deviation of its logarithm with
    which Student's t gives them.
    """

    rate: float
    low: float
    high: float
    noise: float


class Search:
    """Decides the steps of one search.

    Args:
        allowed: of each limit, the share of values that may lie above it: 0.05 for p95.
        options: how it goes on and ends.
        limit: the limit on the rate itself, in requests per second; None without one.
    """

    def __init__(self, allowed: Sequence[float], options: SearchOptions, limit: float | None = None) -> None:
        self._allowed = allowed
        self._options = options
        self._limit = limit if options.until_decided else None
        self._steps: list[tuple[SearchStep, list[ShareAtRate]]] = []
        self._alone_s: float | None = None
        self._request_s = 0.0
        self._ceiling = options.highest or math.inf
        self._sent = 0
        self._is_long = False
        self._precise_looks = 0
        self._known: tuple[int, list[Knee]] = (0, [])
        self.bounded = ""
        self.ended = ""

    @property
    def requests(self) -> int:
        """How many requests its steps have sent."""
        return self._sent

    @property
    def ceiling(self) -> float:
        """The highest rate that it may try, in requests per second; infinite without a bound."""
        return self._ceiling

    def go_on(self, options: SearchOptions) -> None:
        """Goes on under other options with what its steps have shown so far."""
        self._options = options
        self._precise_looks = 0
        self.ended = ""

    def next_step(self) -> SearchStep | None:
        """What to send next; None once the search is over, for the reason in ``ended``."""
        if self._options.start is None and self._alone_s is None:
            return SearchStep(None, PROBE, 0)
        self.ended = self.ended or self._find_end()
        if self.ended:
            return None
        rate = self._choose_rate()
        in_flight = rate * self._request_s
        requests = max(self._count_requests(), math.ceil((_FILLED + _JUDGED) * in_flight))
        if self._options.most_requests is not None:
            requests = min(requests, self._options.most_requests - self._sent)
            if requests < max(_SHORT, (_FILLED + 1) * in_flight):
                self.ended = f"its allowance of {self._options.most_requests} requests is spent"
                return None
        warmup = _SHORT_WARMUP if requests < _LONG else max(_LONG_WARMUP, requests // 8)
        return SearchStep(rate, requests, max(warmup, math.ceil(_FILLED * in_flight)))

    def add_probe(self, seconds: Sequence[float]) -> None:
        """Takes the end-to-end times of the single requests that it begins with."""
        self._sent += len(seconds)
        self._alone_s = self._request_s = max(median(seconds), 1e-6)

    def add(self, step: SearchStep, points: Sequence[ShareAtRate], seconds: Sequence[float] = ()) -> None:
        """Takes what a step showed of each limit, in their order, and the end-to-end times of its requests.

        Where a limit is broken the times are those of a queue, and do not count.
        """
        if seconds and all(point.above <= most for point, most in zip(points, self._allowed, strict=True)):
            self._request_s = max(self._request_s, median(seconds))
        self._sent += step.requests
        self._steps.append((step, list(points)))
        if not self._is_long and self._find_width() <= _WIDE:
            self._is_long = True
        self._precise_looks = self._precise_looks + 1 if self._is_precise() else 0

    def refuse(self, step: SearchStep, reason: str) -> None:
        """Notes that the client cannot send at the rate of a step, for a reason: it stays below that from now on."""
        assert step.rate is not None
        self._sent += step.requests
        self._ceiling = min(self._ceiling, step.rate / _ABOVE)
        self.bounded = reason

    def count_effective(self) -> float:
        """How many independent requests its steps are worth, by the limit of which they are worth least."""
        by_limit = zip(*(points for _, points in self._steps), strict=True)
        return min((math.fsum(point.effective for point in points) for points in by_limit), default=0.0)

    def find_bound(self) -> float:
        """The rate below which the highest one does not lie, but with a probability of ``ERROR``; it was tried."""
        share = ERROR / len(self._allowed)
        tried = max(step.rate for step, _ in self._steps if step.rate)
        return min(tried, *(knee.find_quantile(share) for knee in self._find_knees()))

    def estimate(self, error: float = ERROR) -> RateEstimate | None:
        """Where the highest rate is, each bound wrong with this probability at most; None before the first step."""
        if not self._steps:
            return None
        knees, share = self._find_knees(), error / len(self._allowed)
        rate, low, high = (min(k.find_quantile(q) for k in knees) for q in (0.5, share, 1 - share))
        width = math.hypot(max(math.log(rate / low), math.log(high / rate)), NormalDist().inv_cdf(1 - error) * _BIAS)
        noise = width / t_quantile(1 - error, count_freedom(max(2.0, self.count_effective())))
        return RateEstimate(rate, rate * math.exp(-width), rate * math.exp(width), noise)

    # ----------------------------------------------------------------------------------------------------------------

    def _find_knees(self) -> list[Knee]:
        if self._known[0] != len(self._steps):
            self._known = len(self._steps), self._compute_knees()
        return self._known[1]

    def find_flat(self) -> int | None:
        """The number of a limit that is broken about as often at each rate, which no straight line tells; or None."""
        if sum(1 for step, _ in self._steps if step.requests >= _LONG) < _SEEN:
            return None
        slopes = [knee.slope for knee in self._find_knees()]
        return next((number for number, slope in enumerate(slopes) if slope < _FLAT), None)

    def _list_used(self) -> list[list[ShareAtRate]]:
        steps = [one for one in self._steps if self._has_filled(one[0])] or self._steps
        long = [points for step, points in steps if step.requests >= _LONG]
        return long if len(long) >= _ENOUGH else [points for _, points in steps]

    def _compute_knees(self) -> list[Knee]:
        used = self._list_used()
        return [find_knee([points[number] for points in used], allowed) for number, allowed in enumerate(self._allowed)]

    def _has_filled(self, step: SearchStep) -> bool:
        """Whether as many requests as a step has in flight at a time came before those that were judged.

        At a high rate a few requests find room in any batch, which says nothing of how many go on to find it.
        """
        return step.rate is not None and step.warmup >= step.rate * self._request_s

    def _find_width(self) -> float:
        found = self.estimate()
        return math.inf if found is None else math.log(found.high / found.low) / 2

    @property
    def _floor(self) -> float:
        if self._options.lowest is not None:
            return self._options.lowest
        return 0.0 if self._alone_s is None else _ALONE / self._alone_s

    def _count_requests(self) -> int:
        return min(max(_LONG, self._sent // 3), _MOST) if self._is_long else _SHORT

    def _choose_rate(self) -> float:
        found = self.estimate()
        if found is None:
            wanted = self._options.start or max(1 / (self._alone_s or 1.0), _SHORT / _FIRST_STEP_S)
        else:
            rates = [step.rate for step, _ in self._steps if step.rate]
            turn = (_ABOVE if len(self._steps) % 2 else _BELOW) if self._is_long else 1.0
            wanted = min(max(found.rate * turn, min(rates) / _FASTEST_FALL), _FASTEST_RISE * max(rates))
        # Three digits tell rates apart.
        return float(f"{min(max(wanted, self._floor), self._ceiling):.3g}")

    def _find_end(self) -> str:
        found = self.estimate()
        if found is None:
            return self.bounded and f"the client is too slow at {self._ceiling * _ABOVE:.3g} req/s already"
        if self._limit is not None and len(self._steps) >= _LOOKS:
            sure = self.estimate(_ERROR_AT_EACH_LOOK)
            if sure is not None and (sure.low >= self._limit or sure.high < self._limit):
                return "the limit on it is decided"
        if self._is_held_everywhere():
            if not self.bounded:
                self.bounded = f"all limits hold at highest={self._options.highest:g}/s as well"
            return self.bounded
        if self._has_no_room():
            if self._options.lowest is not None:
                return f"the limits do not hold at lowest={self._floor:g}/s"
            return f"the limits do not hold at {self._floor:.3g} req/s, where requests hardly meet"
        if self._precise_looks >= _LOOKS:
            return f"it is known to {self._options.precision:.3g}"
        return ""

    def _is_precise(self) -> bool:
        if sum(1 for step, _ in self._steps if step.requests >= _LONG) < _ENOUGH:
            return False
        allowed = math.log1p(self._options.precision)
        error = 1 - _SURE
        sure = self.estimate(error)
        return sure is not None and max(math.log(sure.high / sure.rate), math.log(sure.rate / sure.low)) <= allowed

    @property
    def has_ended_at_nothing(self) -> bool:
        """Whether the limits hold at no rate that it may try."""
        return bool(self._steps) and self._has_no_room()

    def _has_no_room(self) -> bool:
        share = ERROR / len(self._allowed)
        return min(knee.find_quantile(1 - share) for knee in self._find_knees()) <= self._floor * _ABOVE

    def _is_held_everywhere(self) -> bool:
        return self._has_filled(self._steps[-1][0]) and self.find_bound() >= self._ceiling / _ABOVE
