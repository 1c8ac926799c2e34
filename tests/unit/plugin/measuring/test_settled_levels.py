"""Settled levels: of all engines of a test, of each, and why there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from pytest_llmperf.measurement.engine_info import EngineInfo
from pytest_llmperf.measurement.measurement import Measurement
from pytest_llmperf.measurement.memory_trace import MemoryTrace
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.plugin.measuring.settled_levels import SettledLevels
from pytest_llmperf.telemetry.cpu import cpu_device

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.engine import Engine

ENGINES = [cast("Engine", name) for name in ("large", "small")]


def settled(level: int, *parts: Measurement) -> Measurement:
    """A measurement whose memory has settled at this many bytes."""
    trace = MemoryTrace(((0, level),), "resident memory", settled_bytes=level)
    return Measurement(Window(0, 1), EngineInfo("x", "1", "m", devices=(cpu_device(),)), memory=trace, parts=parts)


@pytest.fixture
def levels() -> SettledLevels:
    return SettledLevels()


def value(levels: SettledLevels, engine: Engine | None) -> float | None:
    found = levels.read(engine)
    return None if found is None else found.value


def test_all_have_one_and_so_have_those_that_are_chosen(levels: SettledLevels) -> None:
    assert not SettledLevels().is_noted
    levels.note(settled(12, settled(8), settled(4)), ENGINES, ENGINES[:1])
    assert levels.is_noted
    assert [value(levels, engine) for engine in (None, *ENGINES)] == [12, 8, None]


def test_the_last_one_of_all_counts_and_those_of_each_stay(levels: SettledLevels) -> None:
    levels.note(settled(12, settled(8), settled(4)), ENGINES, ENGINES[:1])
    levels.note(settled(1, settled(0), settled(1)), ENGINES, ENGINES[1:])
    assert [value(levels, engine) for engine in (None, *ENGINES)] == [1, 8, 1]
    levels.forget()
    assert [levels.read(engine) for engine in (None, *ENGINES)] == [None] * 3


def test_a_reason_is_that_of_all_and_of_each(levels: SettledLevels) -> None:
    levels.note_missing(ENGINES, "a request was running")
    assert levels.is_noted
    found = [levels.read(engine) for engine in (None, *ENGINES)]
    assert [reading and reading.reason for reading in found] == ["a request was running"] * 3


def test_memory_that_did_not_settle_says_so(levels: SettledLevels) -> None:
    moving = settled(3)
    assert moving.memory is not None
    trace = replace(moving.memory, settled_bytes=None, settled_reason="it still moved")
    levels.note(replace(moving, memory=trace), ENGINES[:1], ENGINES[:1])
    found = levels.read(None)
    assert found is not None
    assert (found.value, found.reason) == (None, "it still moved")
