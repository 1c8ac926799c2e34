from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint
from pytest_llmperf.traffic.load.preparation import Preparation
from pytest_llmperf.traffic.load.result import Asked
from pytest_llmperf.traffic.load.schedule import Schedule
from pytest_llmperf.traffic.workloads.workload import Script, Turn, Workload, workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_llmperf.traffic.workloads.texts import Texts


class Given(Workload):
    requests = None
    chat = True
    seed = 0
    tokenizer = None

    def __init__(self, *scripts: Script) -> None:
        self.scripts = scripts

    def generate_scripts(self, texts: Texts | None) -> Iterator[Script]:
        yield from self.scripts

    def __str__(self) -> str:
        return "given"


def prepared(*scripts: Script, **settings: Any) -> Preparation:
    endpoint, dialect = Endpoint("http://127.0.0.1:1/v1", "tiny"), Dialect(full_length={"ignore_eos": True})
    settings = {"stream": True, "temperature": 0.0, **dialect.full_length, **settings}
    return Preparation(Given(*scripts), Schedule(concurrency=1), endpoint, dialect, settings, None, "run")


def test_a_request_has_its_own_fields_above_those_of_the_load() -> None:
    plain, own = Turn("a", 3), Turn("b", 4, fields={"temperature": 0.7, "model": "adapter", "max_tokens": 9})
    bodies = [json.loads(order.body) for order in prepared(Script((plain,)), Script((own,))).generate_orders()]
    assert [body["temperature"] for body in bodies] == [0.0, 0.7]
    assert [body["model"] for body in bodies] == ["tiny", "adapter"]
    assert [body["max_tokens"] for body in bodies] == [3, 4]


def test_a_request_asks_for_the_adapter_that_was_drawn() -> None:
    mix = workload(["x"] * 12, output_tokens=2, seed=1, adapters={"a": 1, "": 1})
    endpoint, asked = Endpoint("http://127.0.0.1:1/v1", "tiny"), []

    def name(_: Endpoint, adapter: str) -> dict[str, str]:
        asked.append(adapter)
        return {"model": adapter} if adapter else {}

    load = Preparation(
        mix, Schedule(concurrency=1), endpoint, Dialect(adapter_fields=name), {"stream": True}, None, "run"
    )
    models = [json.loads(order.body)["model"] for order in load.generate_orders()]
    assert models == [one.adapter or "tiny" for one in load.asked]
    assert {*models} == {"a", "tiny"}
    assert sorted(asked) == ["", "a"]  # the engine is asked once for each


@pytest.mark.parametrize(("known", "message"), [(None, "cannot name an adapter"), ("a", "no such adapter: b")])
def test_an_adapter_that_cannot_be_asked_for_is_refused_before_anything_is_sent(known: str, message: str) -> None:
    def name(_: Endpoint, adapter: str) -> dict[str, str]:
        if adapter != known:
            raise ValueError(f"no such adapter: {adapter}")
        return {}

    mix = workload(["x"] * 2, seed=1, adapters={"a": 1e9, "b": 1})
    dialect = Dialect(adapter_fields=name if known else None)
    load = Preparation(
        mix, Schedule(concurrency=1), Endpoint("http://x/v1", "tiny"), dialect, {"stream": True}, None, ""
    )
    with pytest.raises(ValueError, match=message):
        _ = load.first_post


def test_whether_an_answer_may_end_early_is_known_of_each_request() -> None:
    turns = [Turn("a", 3, 5), Turn("b", 4, fields={"stop": ["."]}), Turn("c", 5)]
    load = prepared(*[Script((turn,)) for turn in turns])
    assert [order.full_length for order in load.generate_orders()] == [True, False, True]
    assert load.asked == [Asked(3, 5, full_length=True), Asked(4), Asked(5, full_length=True)]


def test_turns_follow_after_their_own_pause_or_that_of_the_script() -> None:
    script = Script((Turn("a", 1), Turn("b", 2), Turn("c", 3, think_s=0.5)), think_s=2.0)
    (order,) = prepared(script).generate_orders()
    assert order.further == [("b", 2, 2_000_000_000), ("c", 3, 500_000_000)]
