"""What of an app's calls is not judged: the warm-up and the cool-down of a load that it sends itself."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.load import Load, Spread
from pytest_llmperf.traffic.load.result import split_phases
from pytest_llmperf.traffic.load.schedule import Schedule, parse_edges

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_llmperf.measurement.request import Phase, RequestTiming


@dataclass
class LeftOut:
    """Finds which calls of an app are judged, after each moment at which the test has said what is left out."""

    _starts_ns: list[int] = field(default_factory=list)
    _schedules: list[Schedule] = field(default_factory=list)
    # By their identity; a timing is kept here for as long as its identity is.
    _of_app: dict[int, RequestTiming] = field(default_factory=dict)

    def begin(self, at_ns: int, warmup: int | str, cooldown: int | str) -> None:
        """Leaves out so many requests, or so much time, at both ends of what the app sends from a moment on.

        Raises:
            ValueError: an argument is neither a number of requests nor a time.
        """
        first, last = parse_edges(warmup, cooldown)
        self._schedules.append(Schedule(warmup=first, cooldown=last))
        self._starts_ns.append(at_ns)

    def clear(self) -> None:
        """Forgets everything: another measurement begins."""
        for known in (self._starts_ns, self._schedules, self._of_app):
            known.clear()

    def note(self, calls: Iterable[RequestTiming]) -> None:
        """Notes calls as those of the app."""
        self._of_app.update((id(call), call) for call in calls)

    @property
    def faults(self) -> tuple[str, ...]:
        """Why nothing was left out although the test has said so: a sentence, or none."""
        if not any(schedule.warmup or schedule.cooldown for schedule in self._schedules):
            return ()
        if any(call.start_ns >= self._starts_ns[0] for call in self._of_app.values()):
            return ()
        return (
            "llm_perf.leave_out leaves out calls of the app, and none came after it; "
            "llm_client.run has warmup= and cooldown= of its own",
        )

    def judge(self, requests: Sequence[RequestTiming]) -> tuple[dict[int, Phase], tuple[Load, ...]]:
        """The phase of each call of the app, by the identity of its timing, and a load for each moment that had any."""
        groups: dict[int, list[RequestTiming]] = {}
        for request in requests:
            number = bisect_right(self._starts_ns, request.start_ns) - 1
            if number >= 0 and id(request) in self._of_app:
                groups.setdefault(number, []).append(request)
        phases: dict[int, Phase] = {}
        loads = []
        for number, calls in sorted(groups.items()):
            calls.sort(key=lambda call: call.start_ns)
            schedule = self._schedules[number]
            found, steady = split_phases(calls, schedule, calls[0].start_ns)
            phases |= {id(call): phase for call, phase in zip(calls, found, strict=True)}
            edges = schedule.describe_edges()
            fault = "" if steady is not None else f"all {len(calls)} calls of the app fell into {edges}: leave out less"
            came = [call for call in calls if call.error is None]
            loads.append(
                Load(
                    asked=f"{len(calls)} calls of the app; {edges} left out",
                    steady=steady,
                    fault=fault,
                    plan={"sent": "by the app", "left_out": edges},
                    prompt_came=Spread.of([call.prompt_tokens for call in came if call.prompt_tokens is not None]),
                    output_asked=Spread.of([call.asked_tokens for call in came if call.asked_tokens is not None]),
                    output_came=Spread.of([call.output_tokens for call in came if call.output_tokens is not None]),
                    full_answers=sum(
                        call.output_tokens == call.asked_tokens for call in came if call.output_tokens is not None
                    ),
                )
            )
        return phases, tuple(loads)
