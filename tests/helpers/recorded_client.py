"""A client that keeps what it records, in front of a scripted server."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint
from pytest_llmperf.traffic.client.listener import ClientListener
from pytest_llmperf.traffic.llm_client import LLMClient
from tests.helpers.scripted_server import ScriptedServer, sized

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_llmperf.measurement.request import RequestTiming
    from tests.helpers.scripted_server import Turn

WHOLE = {"choices": [{"message": {"content": "Yes"}, "finish_reason": "stop"}], "usage": {"completion_tokens": 1}}
REFUSAL = sized({"error": {"message": "too busy"}}, "503 Service Unavailable")


class Recorded(LLMClient):
    """``dialect`` are the fields of one."""

    def __init__(self, url: str, *, api_key: str = "", **dialect: Any) -> None:
        self.timings: list[RequestTiming] = []
        listener = ClientListener(self.timings.append)
        super().__init__(Endpoint(url, "tiny", api_key), Dialect(**dialect), listener=listener)


@contextmanager
def client_of(*scripts: Sequence[Turn], **settings: Any) -> Iterator[tuple[Recorded, ScriptedServer]]:
    with ScriptedServer(*scripts) as server, Recorded(server.url, **settings) as client:
        yield client, server
