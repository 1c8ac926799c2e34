"""Requests with the names of the adapters that they asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_llmperf.plugin.measuring.adapters import AdapterNames
from pytest_llmperf.traffic.answers.asked import read_adapters
from tests.helpers.streams import stream

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.engine import Engine


class Listing:
    """An engine with these adapters, by how requests ask for them."""

    def __init__(self, **adapters: str) -> None:
        self.adapters = adapters
        self.asked = 0
        self.model = "tiny:latest"
        self.deployment = SimpleNamespace(shown_model="shown")
        self.insight = self

    def list_adapters(self) -> dict[str, str]:
        self.asked += 1
        return self.adapters


@pytest.mark.parametrize(
    ("model", "adapter", "named"),
    [
        ("tiny", "", ""),
        ("shown", "", ""),
        ("", "", ""),
        ("lora", "", "lora"),
        ("another", "", ""),
        ("tiny", "given", "given"),
        ("tiny", "#0", "one"),
        ("tiny", "#0+#1", "one + #1"),
    ],
)
def test_the_adapter_is_known_by_the_model_that_answered_or_by_its_number(model: str, adapter: str, named: str) -> None:
    engine = cast("Engine", Listing(**{"lora": "lora", "#0": "one"}))
    assert AdapterNames().name(engine, stream(1, model=model, adapter=adapter)).adapter == named


def test_an_engine_is_asked_once_for_each_name_that_is_not_known() -> None:
    engine, names = Listing(lora="lora"), AdapterNames()
    for model in ("lora", "another", "lora", "another", "tiny"):
        names.name(cast("Engine", engine), stream(1, model=model))
    assert engine.asked == 2
    # One that was loaded in the test.
    engine.adapters["later"] = "later"
    assert names.name(cast("Engine", engine), stream(1, model="later")).adapter == "later"


@pytest.mark.parametrize(
    ("lora", "found"),
    [
        ([{"id": 0, "scale": 1.0}], "#0"),
        ([{"id": 0, "scale": 0.5}, {"id": 2}], "#0+#2"),
        ([{"id": 0, "scale": 0}, {"id": 1, "scale": 0.0}], ""),
        ([], ""),
        (None, ""),
        ("0", ""),
        ([0, {"id": "x"}, {"scale": 1}], ""),
    ],
)
def test_a_request_to_llamacpp_names_its_adapters_by_number(lora: Any, found: str) -> None:
    assert read_adapters({"prompt": "x", "lora": lora}) == found
