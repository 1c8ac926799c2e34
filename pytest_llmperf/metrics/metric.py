"""What a metric is: everything that markers, judge, reports and docs know of it, with the function that reads it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal

from pytest_llmperf.measurement.distribution import Distribution
from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.metrics.evidence import RequestValues, ValuesOfRequests, find_engines
from pytest_llmperf.metrics.missing import give_no_reason, why_no_request, why_no_values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import RequestTiming, Work
    from pytest_llmperf.measurement.units import Quantity
    from pytest_llmperf.metrics.evidence import Evidence
    from pytest_llmperf.metrics.statistics import Statistic


class SampleSource(Enum):
    """Where the samples of a metric come from, which decides what makes it invalid."""

    MEMORY_SAMPLES = "samples of the engine's memory during the test: of its devices, or of the host on a CPU"
    HOST_SAMPLES = "samples of the engine's host memory during the test"
    SETTLED_LEVEL = "a level at which memory settled: while the models were unasked, or after they were unloaded"
    REQUESTS = "the timed requests of the test"
    SEARCH = "the steps of a search for the highest rate, whose requests are in no other number"
    ENERGY_COUNTERS = "the energy counters of the engine's devices"
    ENGINE = "what the engine states of itself"
    STARTUP = "the timed start of the engine"
    NEXT_TOKENS = "the engine's next tokens at fixed positions of a text, asked for after the test"
    RECORDED = "what the test records of its own answers"
    PAGES = "the metrics pages that the project reads"
    PRICES = "the prices that the project states, and the length of the test"

    @property
    def covers_whole_test(self) -> bool:
        """Whether it says nothing of a part of a test, so that a window inside the test has no reading of it."""
        return self in (
            SampleSource.SETTLED_LEVEL,
            SampleSource.SEARCH,
            SampleSource.ENGINE,
            SampleSource.STARTUP,
            SampleSource.NEXT_TOKENS,
            SampleSource.RECORDED,
            SampleSource.PAGES,
        )


class StreamTime(Enum):
    """Which times of a streamed answer a metric is made of: what holds tokens back on their way makes it invalid."""

    NONE = "none"
    FIRST = "the arrival of the first token"
    SPAN = "the time from the first token to the last"
    GAPS = "the times between tokens, or between chunks"


@dataclass(frozen=True, kw_only=True, eq=False)
class Metric(ABC):
    """A number that a budget may limit: one row of the table, in one of three kinds.

    Attributes:
        name: ``"memory.peak"``: the marker's group and the key in it.
        quantity: what it is a value of; all readings are in its base unit.
        better: which direction is better; a limit is an upper one for ``"lower"``, a lower one for ``"higher"``.
        formula: how it is computed, as reports and docs show it.
        source: where its samples come from.
        known_before_test: whether nothing that happens in a test can make it wrong.
        needs_prefill: whether a prompt that comes from a cache, which the test did not ask for, makes it invalid.
        includes_prefill: the same, if the greater part of a prompt does.
        needs_settling: whether memory must settle after the test before it can be read.
        needs_idle: whether it is computed from the memory that is held while the models are loaded and unasked.
        worse_with_others: whether other requests that the engine serves meanwhile can only make it worse; if not, they
            make it invalid.
        worse_with_lag: whether a client that is late can only make it worse; if not, a late client makes it invalid.
        counts_tokens: whether it is computed from the tokens of the answers, whatever its source.
        has_peak_caveat: whether an engine's ``peak_caveat`` (it takes all memory at its start) applies to it.
        lag_against: the distribution of durations that the lag of the client is compared with before this metric is
            judged; None for itself if it is one, else for end-to-end time.
        stream_time: which times of streamed answers it is made of.
        works: which requests it is of, by what they have the engine do.
    """

    name: str
    quantity: Quantity
    better: Literal["lower", "higher"]
    formula: str
    source: SampleSource
    known_before_test: bool = False
    needs_prefill: bool = False
    includes_prefill: bool = False
    needs_settling: bool = False
    needs_idle: bool = False
    worse_with_others: bool = False
    worse_with_lag: bool = False
    counts_tokens: bool = False
    has_peak_caveat: bool = False
    lag_against: DistributionMetric | None = None
    stream_time: StreamTime = StreamTime.NONE
    works: tuple[Work, ...] = ("text",)

    @property
    def group(self) -> str:
        """``memory`` of ``memory.peak``: the marker and the table of ``llmperf.toml`` that it is limited in."""
        return self.name.partition(".")[0]

    @property
    def key(self) -> str:
        """``peak`` of ``memory.peak``: the argument of the marker, for a distribution without its statistic."""
        return self.name.partition(".")[2]

    @property
    def needs_all_calls(self) -> bool:
        """Whether a call of the test whose answer was not read makes it invalid."""
        return self.source is SampleSource.REQUESTS or self.counts_tokens

    @property
    def limit_key(self) -> str:
        """The key as help texts write it: ``peak``, or ``ttft_pNN`` for a distribution."""
        return self.key

    def select(self, measurement: Measurement) -> Measurement:
        """The measurement with the requests that this metric is of."""
        return measurement.turn_to(self.works)

    def quantity_in(self, measurement: Measurement) -> Quantity:
        """What its values in a measurement are values of: for money that depends on the currency of the prices."""
        return self.quantity

    @abstractmethod
    def read(
        self,
        measurement: Measurement,
        statistic: Statistic | None = None,
        objectives: Sequence[Objective] | None = None,
    ) -> Reading:
        """Its value in a measurement in its base unit, or the reason why there is none.

        Args:
            measurement: what was measured.
            statistic: of a distribution what is asked for; None for other metrics.
            objectives: the limits on distributions that hold for the test; None if they are not known here.

        Raises:
            Exception: whatever the functions of the metric raise.
            TypeError: its function returned no reading.
        """

    @abstractmethod
    def find_evidence(self, measurement: Measurement, objectives: Sequence[Objective] | None = None) -> Evidence | None:
        """What its value is computed from; None if the value is exact enough to be compared with a limit as it is.

        Args:
            measurement: one that the metric has a value in.
            objectives: as in :meth:`read`.
        """

    def _check(self, found: Reading) -> Reading:
        # The functions of other packages are not always seen by a type checker.
        if not isinstance(found, Reading):
            raise TypeError(f"{self.name} was computed as {found!r}, which is not a Reading")
        return found


@dataclass(frozen=True)
class Objective:
    """A limit on each value that a request gives of a distribution, in the base unit of that metric."""

    metric: DistributionMetric
    limit: float

    def is_met_by(self, request: RequestTiming) -> bool | None:
        """Whether every value of the request keeps the limit; None if that is unknown. A failed request never does.

        Between the tokens of a single chunk there is nothing to wait for.
        """
        if request.error is not None:
            return False
        if found := self.metric.values_of(request):
            worst = max(found) if self.metric.better == "lower" else min(found)
            return worst <= self.limit if self.metric.better == "lower" else worst >= self.limit
        if self.metric.why_incomplete([request]):
            return None if request.hidden_tokens else False
        return True if len(request.chunks) == 1 else None


@dataclass(frozen=True, kw_only=True, eq=False)
class ScalarMetric(Metric):
    """One number for a whole measurement.

    Attributes:
        compute: from a measurement and this metric to its reading. Called with both by position.
        evidence: from a measurement to what the value is computed from; None for a value that is exact.
    """

    compute: Callable[[Measurement, Metric], Reading]
    evidence: Callable[[Measurement], Evidence | None] | None = None

    def read(
        self,
        measurement: Measurement,
        statistic: Statistic | None = None,
        objectives: Sequence[Objective] | None = None,
    ) -> Reading:
        return self._check(self.compute(self.select(measurement), self))

    def find_evidence(self, measurement: Measurement, objectives: Sequence[Objective] | None = None) -> Evidence | None:
        return None if self.evidence is None else self.evidence(self.select(measurement))


@dataclass(frozen=True, kw_only=True, eq=False)
class DistributionMetric(Metric):
    """Values of all judged requests, limited at a percentile (``ttft_p95``) or at the largest (``ttft_max``).

    Attributes:
        values: what an answered request gives of it, in the base unit; empty if it gives nothing.
        sample: what one value is of: ``request``, ``token`` or ``chunk``.
        why_none: why such requests gave no value at all, in one sentence; called with them and the metric's key.
        why_incomplete: why the values that answered requests gave must not stand for all of them; empty if they may.
    """

    values: Callable[[RequestTiming], Sequence[float]]
    sample: str = "request"
    why_none: Callable[[Sequence[RequestTiming], str], str] = why_no_values
    why_incomplete: Callable[[Sequence[RequestTiming]], str] = give_no_reason

    @property
    def limit_key(self) -> str:
        return f"{self.key}_pNN"

    def values_of(self, request: RequestTiming) -> Sequence[float]:
        """What a request gives of it, in the base unit; a failed request gives nothing."""
        return () if request.error is not None else self.values(request)

    def distribution(self, measurement: Measurement) -> Distribution:
        """All values of the judged requests, computed once for each measurement, which :meth:`select` has given."""
        if self.name not in measurement.distributions:
            found = Distribution(self.values_of(request) for request in measurement.judged)
            measurement.distributions[self.name] = found
        return measurement.distributions[self.name]

    def read(
        self,
        measurement: Measurement,
        statistic: Statistic | None = None,
        objectives: Sequence[Objective] | None = None,
    ) -> Reading:
        """Its value at a statistic.

        Raises:
            ValueError: no statistic is given.
        """
        if statistic is None:
            raise ValueError(f"{self.name} is read at a percentile, such as {self.name}_p95, or at {self.name}_max")
        measurement = self.select(measurement)
        if not measurement.requests:
            return Reading.missing(why_no_request(measurement))
        found = self.distribution(measurement)
        if not found.count:
            return Reading.missing(self.why_none(measurement.judged, self.key))
        answered = [request for request in measurement.judged if request.error is None]
        if reason := self.why_incomplete(answered):
            return Reading.missing(reason)
        if found.contributors < statistic.minimum:
            counted = "" if self.sample == "request" else f", with {found.count} {self.sample}{_plural(found.count)}"
            gave = f"{found.contributors}{counted}"
            too_few = f"{statistic.suffix} needs {statistic.minimum} requests, the test gave {gave}"
            return Reading.missing(too_few, needs_more=True)
        part = "" if found.contributors == len(answered) else f" of {found.contributors} of {len(answered)} requests"
        counted = f"{found.count} {self.sample}{_plural(found.count)}"
        return Reading(statistic.of(found), f"{self.formula}, {counted}{part}", samples=found.count)

    def find_evidence(self, measurement: Measurement, objectives: Sequence[Objective] | None = None) -> Evidence | None:
        measurement = self.select(measurement)
        gave = [request for request in measurement.judged if self.values_of(request)]
        return RequestValues(
            ValuesOfRequests(gave, self.values_of), self.sample == "request", find_engines(measurement, gave)
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectiveMetric(Metric):
    """One number for a whole measurement that depends on the limits of the test as well: goodput.

    Attributes:
        compute: from a measurement, the objectives of the test (None if they are not known) and this metric to its
            reading. Called with all three by position.
        evidence: from a measurement and the objectives to what the value is computed from; None for an exact value.
    """

    compute: Callable[[Measurement, Sequence[Objective] | None, Metric], Reading]
    evidence: Callable[[Measurement, Sequence[Objective] | None], Evidence | None] | None = None

    def read(
        self,
        measurement: Measurement,
        statistic: Statistic | None = None,
        objectives: Sequence[Objective] | None = None,
    ) -> Reading:
        return self._check(self.compute(measurement, objectives, self))

    def find_evidence(self, measurement: Measurement, objectives: Sequence[Objective] | None = None) -> Evidence | None:
        return None if self.evidence is None else self.evidence(measurement, objectives)


def _plural(count: int) -> str:
    return "" if count == 1 else "s"
