"""How late the client was, of each way to ask: in the verdict, the report and the table of evidence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.reports.report_file import read_report
from tests.helpers.hostile_server import HostileServer, Reply, event, text, usage

if TYPE_CHECKING:
    from tests.conftest import Runs

ASKS = """
    import json, threading, urllib.request
    from contextlib import contextmanager

    @contextmanager
    def busy_app():
        ended = threading.Event()

        def compute():
            while not ended.is_set():
                sum(range(2000))

        thread = threading.Thread(target=compute)
        thread.start()
        yield
        ended.set()
        thread.join(60)

    @pytest.mark.latency_budget(ttft_max="151 ms", e2e_max="151 ms")
    def test_beside_a_busy_app(llm_client):
        with busy_app():
            llm_client.generate("z", max_tokens=2)

    @pytest.mark.llm_cache("warm")
    @pytest.mark.latency_budget(ttft_max="1 ms")
    def test_in_every_way(llm_client):
        llm_client.chat("x", max_tokens=2)
        llm_client.run(["x", "y"], concurrency=2, max_tokens=2)
        body = {"model": llm_client.model, "messages": [], "max_tokens": 2, "stream": True}
        url = f"{llm_client.base_url}/chat/completions"
        urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode())).read()
"""


def test_a_busy_app_breaks_no_limit_and_each_way_to_ask_has_its_lag(runs: Runs) -> None:
    first, second = (event(text(" w", usage={"completion_tokens": n, "prompt_tokens": 3})) for n in (1, 2))
    tail = b"".join(map(event, (text("", "length"), usage(2), "[DONE]")))
    with HostileServer(lambda _: Reply([0.15, first + second + tail])).running() as server:
        runs.plain(ASKS, "--llmperf-report=report.json", "--llmperf-report=report.md", *server.options)
    report = read_report(Path("report.json"))
    beside, every = report["tests"]
    lag = beside["measurement"]["client_lag_s"]
    assert set(lag) == {"call"}
    assert lag["call"]["max"] > 0
    for verdict in beside["verdicts"]:
        # A busy host may make the server itself late, which is no lag of the client.
        assert verdict["status"] != "FAIL" or verdict["measured"] - lag["call"]["max"] > verdict["limit"]
        assert verdict["status"] != "INVALID" or "sent single requests was late by" in verdict["reason"]
    assert set(every["measurement"]["client_lag_s"]) == {"call", "list", "app"}
    written = Path("report.md").read_text(encoding="utf-8")
    assert "lists of prompts stamped late by" in written
    assert "calls of the app stamped late by" in written
