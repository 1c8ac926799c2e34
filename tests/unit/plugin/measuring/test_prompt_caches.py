"""What is known of the prompts in the caches of engines, where a cache cannot be emptied."""

from __future__ import annotations

import pytest

from pytest_llmperf.engines.api.spec import EngineSpec
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.measurement.prompts import Prompt
from pytest_llmperf.plugin.measuring.prompt_caches import PromptCaches
from tests.helpers.fake_engine import FakeEngine

PROMPT = Prompt.of([("Once upon a time", True)])


def attached(variant: str, url: str = "http://h:1/v1", model: str = "m") -> FakeEngine:
    engine = FakeEngine(EngineSpec("fake", model, variant=variant))
    engine.deployment.attached, engine.deployment.base_url = True, url
    engine.deployment.state = EngineState.READY
    return engine


@pytest.mark.parametrize(
    ("other", "knows"),
    [
        (attached("new"), True),
        (attached("new", url="http://h:2/v1"), False),
        (attached("new", model="n"), False),
    ],
    ids=["one server", "another server", "another model"],
)
def test_two_variants_that_are_one_running_server_have_one_cache(other: FakeEngine, knows: bool) -> None:
    caches = PromptCaches("")
    caches.remember(attached("old"), [PROMPT])
    caches.forget(other)  # it is attached to now, and the server has run all the while
    assert caches.empty(other).earlier.find_overlap(PROMPT).whole == knows


def test_an_engine_that_is_started_has_an_empty_cache() -> None:
    old, new = (FakeEngine(EngineSpec("fake", "m", variant=variant)) for variant in ("old", "new"))
    caches = PromptCaches("")
    for engine in (old, new):
        engine.start()
        caches.remember(engine, [PROMPT])
    caches.forget(new)
    assert caches.empty(old).earlier.find_overlap(PROMPT).whole
    assert not caches.empty(new).earlier.marks
