"""Whether a cost was measured at a load that meets the latency limits of its test: tokens are cheap in an overload."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.metrics.metric import DistributionMetric
from pytest_llmperf.metrics.table import METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

PER_TOKEN = "cost.per_million_output"


def ask_for_latency(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts on one engine, where a cost that holds at a load which breaks a latency limit is INVALID.

    A FAIL stays: a load that meets the limits would cost more. Where it is not known whether they are met, and where
    the test has none, the verdict says so.
    """
    limited = [one for one in verdicts if isinstance(METRICS.get(one.metric), DistributionMetric) and not one.relative]
    return [_ask(one, limited) if one.metric == PER_TOKEN and one.measured is not None else one for one in verdicts]


def _ask(verdict: Verdict, limited: Sequence[Verdict]) -> Verdict:
    broken = [one.name for one in limited if one.status is Status.FAIL]
    if broken and verdict.status in (Status.PASS, Status.INCONCLUSIVE):
        reason = f"measured at a load that breaks the limit on {', '.join(broken)}: send less, and a token costs more"
        return replace(verdict, status=Status.INVALID, reason=reason, needs_more=False)
    unknown = [f"{one.name} ({one.status})" for one in limited if one.status not in (Status.PASS, Status.FAIL)]
    if broken:
        note = f"at a load that breaks {', '.join(broken)}"
    elif unknown:
        note = f"at a load that is not known to meet {', '.join(unknown)}"
    elif limited:
        note = f"at a load that meets {', '.join(one.name for one in limited)}"
    else:
        note = "the test limits no latency that its load would have to meet"
    how = verdict.how if note in verdict.how else f"{verdict.how}; {note}"
    return replace(verdict, how=how)
