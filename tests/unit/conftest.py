"""A running sampler, and a process that it watches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.sampler.client import Sampler
from tests.helpers.memory_process import MemoryProcess

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sampler() -> Iterator[Sampler]:
    sampler = Sampler()
    sampler.start()
    yield sampler
    sampler.stop()


@pytest.fixture
def process(sampler: Sampler) -> Iterator[MemoryProcess]:
    with MemoryProcess() as process:
        sampler.watch(process.pid)
        yield process
