"""A metrics page at one moment: the series that were asked for, and what tells that its server is still the same."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.reading import Missing
from pytest_llmperf.system.masking import mask_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_llmperf.measurement.pages.series import PageSeries
    from pytest_llmperf.system.prometheus import MetricsPage, Sample

STARTED = "process_start_time_seconds"
MOST_BYTES = 16 << 20
"""A longer page is not read: it would take longer than a test should wait for it."""
PATIENCE_S = 2.0


@dataclass(frozen=True)
class Snapshot:
    """What a page said.

    Attributes:
        samples: those of the series that were asked for, and those that tell when the server or a counter began.
        failure: why it could not be read; empty if it could.
    """

    samples: Sequence[Sample] = ()
    failure: str = ""

    @property
    def started(self) -> tuple[float, ...]:
        """When the processes of the server began, in Unix time; empty if the page does not say."""
        return tuple(sorted(sample.value for sample in self.samples if sample.name == STARTED))

    def find(self, series: PageSeries) -> Sequence[Sample] | Missing:
        """The samples of these series: at least one, each of other labels, and none without a finite value."""
        if self.failure:
            return Missing(self.failure)
        found = [sample for sample in self.samples if series.matches(sample.name, sample.labels)]
        if not found:
            return Missing(f"the page has no {series.text}")
        if len({tuple(sorted(sample.labels.items())) for sample in found}) < len(found):
            return Missing(f"the page has {series.text} twice with the same labels")
        if odd := [sample for sample in found if not math.isfinite(sample.value)]:
            return Missing(f"the page states {odd[0].value} as {series.text}")
        return found

    def add_up(self, series: PageSeries) -> float | Missing:
        """The sum over the samples of these series."""
        found = self.find(series)
        return found if isinstance(found, Missing) else math.fsum(sample.value for sample in found)

    def read_buckets(self, series: PageSeries) -> Mapping[float, float] | Missing:
        """How many values of a histogram are at most as large as each bound, added up over its series."""
        found = self.find(series.rename("_bucket"))
        if isinstance(found, Missing):
            return found
        buckets: dict[float, float] = {}
        for sample in found:
            try:
                bound = float(sample.labels["le"])
            except (KeyError, ValueError):
                return Missing(f"a bucket of {series.text} has no bound (le)")
            buckets[bound] = buckets.get(bound, 0.0) + sample.value
        return dict(sorted(buckets.items()))


def take_snapshot(page: MetricsPage, names: Iterable[str]) -> Snapshot:
    """Reads the samples of these names. Never raises: what is wrong is its ``failure``."""
    created = [name.removesuffix("_total") + "_created" for name in names]
    try:
        return Snapshot(page.read([*names, *created, STARTED]))
    except OSError as error:
        return Snapshot(failure=mask_secrets(str(error)))


@dataclass(frozen=True)
class PageLooks:
    """What was seen of the page between its two snapshots, some times a second.

    Attributes:
        values: of each series by its text, the sums that were seen, in order.
        most_samples: of each series the largest number of samples in one look.
        started: the start times that were seen, added up.
        failure: why the last look failed; empty if it did not.
    """

    values: Mapping[str, Sequence[float]] = field(default_factory=dict)
    most_samples: Mapping[str, int] = field(default_factory=dict)
    started: Sequence[float] = ()
    failure: str = ""
