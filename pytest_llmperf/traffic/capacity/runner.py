"""Sends the loads of a search for the highest rate, and of a sweep."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.capacity.portion import Portion, describe_mix
from pytest_llmperf.traffic.load.schedule import Schedule, ScheduleOptions, parse_schedule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.capacity.result import CapacityResult, SweepResult
    from pytest_llmperf.measurement.capacity.steps import SearchStep
    from pytest_llmperf.traffic.capacity.options import CapacityOptions
    from pytest_llmperf.traffic.client.listener import SearchSteps
    from pytest_llmperf.traffic.load.runner import LoadRunner
    from pytest_llmperf.traffic.workloads.workload import Workload


@dataclass(frozen=True)
class CurveRunner:
    """Sends the loads of searches and sweeps by ``loads``, one after another, each from an empty queue to an empty one.

    A load ends with its last answer, so that what an overload has left waiting is over before the next one begins.
    """

    loads: LoadRunner

    def search(self, workload: Workload, options: CapacityOptions, settings: Mapping[str, Any]) -> CapacityResult:
        """Sends what a search for the highest rate asks for, until it is over or its allowance is spent.

        Raises:
            RequestFailed: a larger share of the requests of a step failed than is tolerated.
            LoadClientDied: the process that sends them ended.
            ValueError: an argument cannot be measured.
        """
        search = self.loads.listener.register_capacity(options.search, describe_mix(workload))
        begun, number, ended = time.monotonic(), 0, ""
        try:
            while (step := search.next_step()) is not None:
                if number and time.monotonic() - begun + _count_seconds(step) > options.most_seconds:
                    ended = f"its allowance of {options.most_seconds:g} s is spent"
                    break
                number += 1
                self._send_step(search, step, Portion(workload, number, step.requests), options, settings)
        except ValueError:
            raise
        except BaseException as error:
            search.finish(fault=" ".join(f"the search was ended: {error or type(error).__name__}".split()))
            raise
        return search.finish(ended=ended)

    def _send_step(
        self,
        search: SearchSteps,
        step: SearchStep,
        portion: Portion,
        options: CapacityOptions,
        settings: Mapping[str, Any],
    ) -> None:
        schedule = Schedule(
            concurrency=1 if step.rate is None else None,
            rate=step.rate,
            warmup=step.warmup,
            max_error_rate=options.max_error_rate,
        )
        at = "one request at a time" if step.rate is None else f"{step.rate:g} req/s"
        result = self._lead(f"capacity {search.describe()}, now {at}").run(portion, schedule, settings)
        search.add(step, result.load, result.requests)

    def sweep(
        self, workload: Workload, schedules: Sequence[ScheduleOptions], settings: Mapping[str, Any]
    ) -> SweepResult:
        """Sends the workload by each schedule in turn, each time with other requests of the same mix.

        Raises:
            RequestFailed: a larger share of the requests failed than is tolerated.
            LoadClientDied: the process that sends them ended.
            ValueError: an argument cannot be measured.
        """
        parsed = [parse_schedule(workload, options) for options in schedules]
        sweep = self.loads.listener.register_sweep(describe_mix(workload))
        try:
            for number, schedule in enumerate(parsed):
                part = _grow(workload, number)
                result = self._lead(f"sweep {number + 1} of {len(parsed)}").run(part, schedule, settings)
                sweep.add(result.load, result.requests, schedule.concurrency, schedule.rate)
        finally:
            found = sweep.finish()
        return found

    def _lead(self, words: str) -> LoadRunner:
        """Runs loads apart from those of the test, with words before their progress."""
        listener = self.loads.listener

        def show(line: str) -> None:
            listener.show(f"{words}: {line}" if line else "")

        apart = replace(listener, begin_load=listener.begin_step, begin_growth=None, show=show)
        return replace(self.loads, listener=apart)


def _count_seconds(step: SearchStep) -> float:
    """About how long a step takes to be sent."""
    return step.requests / step.rate if step.rate else 0.0


def _grow(workload: Workload, number: int) -> Workload:
    """The workload itself, and then as many other requests of its mix as it has; the same ones if it has no others."""
    try:
        return workload.grow(number) if number else workload
    except ValueError:
        return workload
