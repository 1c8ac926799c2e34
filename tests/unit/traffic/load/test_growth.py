"""A load that grows: what decides how far, what each stretch sends, and the one load that they are together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf import workload, workload_file
from pytest_llmperf.measurement.load import ClientHealth, Lag, Load, Spread
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint
from pytest_llmperf.traffic.client.listener import ClientListener
from pytest_llmperf.traffic.client.request import RequestFailed
from pytest_llmperf.traffic.llm_client import LLMClient
from pytest_llmperf.traffic.load.growth import join_stretches
from pytest_llmperf.traffic.load.result import LoadResult
from tests.helpers.streams import MS, stream
from tests.unit.traffic.load.test_runner import Within

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_llmperf.measurement.request import RequestTiming

MIX = workload(prompt_tokens=8, output_tokens=1, requests=5, tokenizer=str.split)


@dataclass
class Bench:
    """A client within this process. Its loads grow until ``enough`` requests were sent."""

    enough: int = 0
    status: int = 200
    asked_after: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    timings: list[RequestTiming] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.transport = Within(status=self.status)
        dialect = Dialect(transport=lambda _: self.transport)
        listener = ClientListener(self.timings.append, self.loads.append, begin_growth=lambda: self)
        self.client = LLMClient(Endpoint("", "tiny"), dialect, listener=listener)

    def goes_on(self, load: Load, requests: Sequence[RequestTiming], seconds: float) -> bool:
        assert load.steady is not None
        self.asked_after.append(len(requests))
        self.seconds.append(seconds)
        return len(requests) < self.enough


def test_it_sends_stretches_of_other_requests_until_that_is_enough() -> None:
    bench = Bench(enough=15)
    result = bench.client.run(MIX, concurrency=2, until="decided", warmup=1)
    assert bench.asked_after == [5, 10, 15]
    prompts = [asked.body["prompt"] for asked in bench.transport.asked if asked.sent_ns]
    assert len(set(prompts)) == 15
    assert all(seconds > 0 for seconds in bench.seconds)
    assert bench.loads == [result.load]
    assert bench.timings == list(result.requests)
    assert [r.phase for r in result.requests] == ["warmup", *["steady"] * 4] * 3
    assert len(result.load.spans) == 3
    assert result.load.asked.endswith("closed loop, 2 at a time, warm-up 1 request, until decided")
    assert result.load.output_came == Spread(1, 1.0, 1, 15)


def test_it_begins_no_stretch_beyond_the_requests_that_are_allowed() -> None:
    bench = Bench(enough=100)
    assert len(bench.client.run(MIX, until="decided", max_requests=14).requests) == 10
    assert bench.asked_after == [5]


def test_a_load_that_has_failed_is_not_asked_about() -> None:
    bench = Bench(enough=100, status=500)
    with pytest.raises(RequestFailed, match="5 of 5 requests failed"):
        bench.client.run(MIX, until="decided")
    assert not bench.asked_after


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompts": "file"}, "needs more requests than one.jsonl holds"),
        ({"prompts": ["a"], "share_prefix": True}, "share_prefix=True would answer them from the cache"),
    ],
)
def test_what_cannot_grow_is_refused_before_anything_is_sent(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text('{"prompt": "a"}\n', encoding="utf-8")
    bench, given = Bench(), arguments.pop("prompts")
    with pytest.raises(ValueError, match=message) as error:
        bench.client.run(workload_file(path) if given == "file" else workload(given), until="decided", **arguments)
    assert "\n" not in str(error.value)
    assert not bench.transport.asked
    assert not bench.loads


def test_a_client_of_no_test_has_nothing_to_decide() -> None:
    client = LLMClient(Endpoint("", "tiny"), Dialect(transport=lambda _: Within()))
    with pytest.raises(ValueError, match="this one belongs to no test"):
        client.run(MIX, until="decided")


def test_until_is_for_a_workload() -> None:
    with pytest.raises(ValueError, match=r"until is for a workload: run\(workload\(prompts\), until=\.\.\.\)"):
        Bench().client.run(["a"], until="decided")


# ------------------------------------------------------------------------------------------------------ joined


def stretch(start_ms: int, lag: float, **fields: Any) -> LoadResult:
    requests = (stream(start_ms + 50, sent_ms=start_ms, scheduled_ns=(start_ms - 1) * MS),)
    health = ClientHealth("asyncio", Lag(lag, lag, lag, lag), cpu_share=lag, connections=2)
    return LoadResult(requests, Load("asked", Window(start_ms * MS, (start_ms + 50) * MS, "steady"), health, **fields))


def test_stretches_are_one_load_without_the_pauses_between_them() -> None:
    parts = [
        stretch(100, 0.1, output_came=Spread(1, 2.0, 3, 10), full_answers=4),
        stretch(300, 0.3, output_came=Spread(2, 5.0, 9, 30), full_answers=5),
        stretch(500, 0.2, output_came=None, fault="it broke", stopped="by hand"),
    ]
    found = join_stretches(parts)
    assert [request.sent_ns // MS for request in found.requests] == [100, 300, 500]
    assert found.load.steady == Window(100 * MS, 550 * MS, "steady")
    assert [span.seconds for span in found.load.spans] == [0.05] * 3
    assert found.load.output_came == Spread(1, 4.25, 9, 40)
    assert (found.load.prompt_came, found.load.full_answers) == (None, 9)
    assert (found.load.fault, found.load.stopped) == ("it broke", "by hand")
    health = found.load.health
    assert health is not None
    assert (health.loop_lag.p99, health.cpu_share, health.connections) == (0.3, 0.3, 6)
    assert health.schedule_lag == Lag(0.001, 0.001, 0.001, 0.001)


def test_one_stretch_is_the_load_itself() -> None:
    alone = stretch(100, 0.1)
    assert join_stretches([alone]) is alone
    assert alone.load.spans == (alone.load.steady,)
    assert Load("", None).spans == ()
