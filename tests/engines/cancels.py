"""A request to a real engine that is cancelled on purpose, and when the engine is seen to notice."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.plugin.cancelling.expectation import Expectation
from pytest_llmperf.traffic.client.listener import ClientListener
from pytest_llmperf.traffic.llm_client import LLMClient, RequestFailed
from tests.helpers.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.measurement.cancelling.cancelled import CancelledRequest
    from pytest_llmperf.measurement.request import RequestTiming


# The block looks at the engine 20 times a second.
_WHILE_S = 0.5


@dataclass
class _Sent:
    """What one client has sent; each call returns once it has ended."""

    timings: list[RequestTiming] = field(default_factory=list)

    def list_ended(self, engine: Engine, since_ns: int) -> list[RequestTiming]:
        return [timing for timing in self.timings if timing.sent_ns >= since_ns]

    def count_running_since(self, since_ns: int) -> int:
        return 0


def cancel_one(engine: Engine, max_tokens: int) -> CancelledRequest:
    """Cancels a request as soon as the engine works on it; returns what came of it."""
    sent = _Sent()
    client = LLMClient(engine.endpoint, engine.dialect, listener=ClientListener(record=sent.timings.append))
    expectation = Expectation(engine, sent, PATIENCE_S)
    with client, expectation, ThreadPoolExecutor(1) as threads:
        answer = threads.submit(client.generate, "Once upon a time", max_tokens=max_tokens, ignore_eos=True)
        until(lambda: engine.insight.count_running() == 1)
        time.sleep(_WHILE_S)
        client.cancel()
        with pytest.raises(RequestFailed, match="cancelled"):
            answer.result(PATIENCE_S)
    (cancelled,) = expectation.requests
    return cancelled


def check_cancel(engine: Engine, max_tokens: int) -> None:
    """Checks that the engine notices a cancel, is idle then, and says so."""
    cancelled = cancel_one(engine, max_tokens)
    assert cancelled.noticed_after is not None, cancelled.reason
    assert cancelled.noticed_after > 0
    assert engine.insight.count_running() == 0
