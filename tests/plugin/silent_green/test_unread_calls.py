"""A call whose answer is not read is counted by its path, and latency and throughput are not judged beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.reports.report_file import read_report
from tests.helpers.hostile_server import whole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.conftest import Runs
    from tests.helpers.hostile_server import Asked, HostileServer, Reply

UNREAD = ("/v1/audio/speech", "/generate", "/invocations")
HARMLESS = ("/tokenize", "/embed_all", "/v1/messages/count_tokens", "/api/show")
ASKS = """
    import json, urllib.request

    BUDGETS = [
        pytest.mark.latency_budget(ttft_max="1 min", e2e_max="1 min"),
        pytest.mark.throughput_budget(output="0.1 tok/s", requests="0.1 req/s"),
    ]
    pytestmark = BUDGETS

    def post(client, path, **more):
        root = client.base_url.removesuffix("/v1")
        body = json.dumps({"prompt": "x", "max_tokens": 4, **more}).encode()
        urllib.request.urlopen(urllib.request.Request(root + path, body)).read()
"""


@pytest.fixture
def any_path(hostile: HostileServer) -> HostileServer:
    """The server answers on every path, as an engine with many protocols."""
    good = hostile.answer

    def answer(asked: Asked) -> Reply:
        return good(asked) if asked.path.endswith("/completions") else whole({"content": "w w w w"})

    hostile.answer = answer
    return hostile


def read_tests(pytester: pytest.Pytester) -> Iterable[dict[str, Any]]:
    tests: list[dict[str, Any]] = read_report(pytester.path / "out.json")["tests"]
    return tests


@pytest.mark.parametrize("path", UNREAD)
def test_beside_a_request_that_is_read(runs: Runs, any_path: HostileServer, path: str) -> None:
    result = runs.plain(
        ASKS
        + f"""
    def test_asks(llm_client):
        llm_client.generate("x", max_tokens=4)
        post(llm_client, "{path}?beta=true")
""",
        "--llmperf-strict",
        *any_path.options,
    )
    result.assert_outcomes(failed=1)
    sentence = f"the test sent 1 call that is not read: POST {path}"
    result.stdout.fnmatch_lines(
        [
            f"*beside them, 1 call that is not read: POST {path}",
            f"why: * INVALID: {sentence} (*",
            f"note: {sentence} (test_it.py::test_asks)",
            "budgets: 4 INVALID",
        ]
    )


def test_every_method_that_may_ask_and_half_a_request_are_calls(
    runs: Runs, any_path: HostileServer, pytester: pytest.Pytester
) -> None:
    runs.plain(
        ASKS
        + """
    import socket
    from urllib.parse import urlsplit

    def send(client, wire):
        parts = urlsplit(client.base_url)
        OPEN.append(socket.create_connection((parts.hostname, parts.port), timeout=60))
        OPEN[-1].sendall(wire)
        return OPEN[-1]

    OPEN = []

    @pytest.fixture(scope="module", autouse=True)
    def closed():
        yield
        for connection in OPEN:
            connection.close()

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "QUERY", "DELETE"])
    def test_asks(llm_client, method):
        llm_client.generate(f"x {method}", max_tokens=4)
        send(llm_client, f"{method} /x HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 0\\r\\n\\r\\n".encode()).recv(1)

    @pytest.mark.parametrize("begun", ["P", "POST /v1/chat/completions HTTP/1.1", "GET /v1/mod"])
    def test_begins_to_ask(llm_client, begun):
        llm_client.generate(f"x {begun}", max_tokens=4)
        send(llm_client, begun.encode())
        llm_client.generate(f"y {begun}", max_tokens=4)
""",
        "--llmperf-report=out.json",
        *any_path.options,
    )
    verdicts = [{verdict["status"] for verdict in test["verdicts"]} for test in read_tests(pytester)]
    assert verdicts == [*[{"INVALID"}] * 3, {"PASS"}, *[{"INVALID"}] * 2, {"PASS"}]


def test_alone(runs: Runs, any_path: HostileServer, pytester: pytest.Pytester) -> None:
    result = runs.plain(
        ASKS
        + """
    def test_asks(llm_client):
        for path in ["/v1/batches"] * 2 + ["/generate"]:
            post(llm_client, path)
""",
        "--llmperf-report=out.json",
        "--llmperf-report=out.md",
        *any_path.options,
    )
    sentence = "the test sent 3 calls that are not read: 1 POST /generate, 2 POST /v1/batches"
    result.stdout.fnmatch_lines([f"why: * INVALID: {sentence} (*", "budgets: 4 INVALID"])
    assert f"- {sentence} " in (pytester.path / "out.md").read_text(encoding="utf-8").replace("\\", "")
    (test,) = read_tests(pytester)
    assert test["measurement"]["requests"]["unread"] == [
        {"call": "POST /generate", "count": 1, "harmless": False},
        {"call": "POST /v1/batches", "count": 2, "harmless": False},
    ]
    assert {"throughput.requests", "latency.ttft"} <= set(test["measurement"]["missing"][sentence])
    assert "no request through llm_client" not in (pytester.path / "out.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", HARMLESS)
def test_what_generates_no_text_is_counted_and_harmless(runs: Runs, any_path: HostileServer, path: str) -> None:
    result = runs.plain(
        ASKS
        + f"""
    def test_asks(llm_client):
        post(llm_client, "{path}")
        llm_client.generate("x", max_tokens=4)
        post(llm_client, "{path}")
""",
        "--llmperf-strict",
        *any_path.options,
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [f"note: the test sent 2 calls that are not read: POST {path} (test_it.py::test_asks)", "budgets: 4 PASS"]
    )


def test_what_the_test_says_is_no_matter_is_counted_and_harmless(
    runs: Runs, any_path: HostileServer, pytester: pytest.Pytester
) -> None:
    result = runs.plain(
        ASKS
        + """
    @pytest.fixture
    def speech(llm_perf):
        llm_perf.ignore_path("/v1/audio/*")

    def test_in_a_fixture(speech, llm_client):
        post(llm_client, "/v1/audio/speech")
        llm_client.generate("x", max_tokens=4)

    def test_one_of_two(llm_perf, llm_client):
        post(llm_client, "/v1/audio/speech")
        post(llm_client, "/generate")
        llm_client.generate("x", max_tokens=4)
        llm_perf.ignore_path("/v1/audio/speech")

    @pytest.mark.parametrize("path", ["audio", "/", "/*", "", "/v1/chat/completions", "/v1/embeddings", None])
    def test_a_mistake(llm_perf, path):
        with pytest.raises(ValueError, match=r"llm_perf.ignore_path\\(.*: (give the end|calls there are measured)"):
            llm_perf.ignore_path(path)
""",
        "--llmperf-report=out.json",
        "-p",
        "no:randomly",
        *any_path.options,
    )
    result.assert_outcomes(passed=9)
    ignored, mixed, *_ = read_tests(pytester)
    assert {verdict["status"] for verdict in ignored["verdicts"]} == {"PASS"}
    assert {verdict["status"] for verdict in mixed["verdicts"]} == {"INVALID"}
    assert [(call["call"], call["harmless"]) for call in mixed["measurement"]["requests"]["unread"]] == [
        ("POST /generate", False),
        ("POST /v1/audio/speech", True),
    ]


def test_a_harmless_call_alone_is_named(runs: Runs, any_path: HostileServer) -> None:
    result = runs.plain(
        ASKS
        + """
    def test_asks(llm_client):
        post(llm_client, "/tokenize")
""",
        *any_path.options,
    )
    result.stdout.fnmatch_lines(
        [
            "why: * NOT MEASURED: the test sent 1 call that is not read: POST /tokenize (*",
            "budgets: 4 NOT MEASURED",
        ]
    )


def test_gets_are_no_calls(runs: Runs, any_path: HostileServer) -> None:
    result = runs.plain(
        ASKS
        + """
    def test_asks(llm_client):
        urllib.request.urlopen(llm_client.base_url + "/models").read()
        llm_client.generate("x", max_tokens=4)
""",
        *any_path.options,
    )
    result.stdout.fnmatch_lines(["budgets: 4 PASS"])
    result.stdout.no_fnmatch_line("note: *not read*")


def test_memory_is_judged_beside_calls_that_are_not_read(runs: Runs) -> None:
    result = runs(
        """
    import urllib.error, urllib.request

    @pytest.mark.memory_budget(peak="10 GiB")
    @pytest.mark.latency_budget(ttft_max="1 min")
    def test_asks(llm_client):
        llm_client.generate("x", max_tokens=4)
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(urllib.request.Request(llm_client.base_url + "/batches", b"{}"))
"""
    )
    result.stdout.fnmatch_lines(["*memory.peak*PASS", "budgets: 1 PASS, 1 INVALID"])


def test_each_engine_has_its_own_calls(runs: Runs, any_path: HostileServer) -> None:
    result = runs.plain(
        ASKS
        + """
    @pytest.mark.latency_budget(ttft_max="1 min", engine="openai")
    @pytest.mark.latency_budget(ttft_max="1 min", engine="simulated")
    def test_two(llm_client, llm_engine_factory, llm_client_factory):
        other = llm_client_factory(llm_engine_factory("simulated", args={"ttft": "2 ms", "tpot": "1 ms"}))
        for client in (llm_client, other):
            client.generate("x", max_tokens=4)
        post(llm_client, "/v1/batches")
""",
        *any_path.options,
    )
    result.stdout.fnmatch_lines(["*openai*ttft_max*INVALID", "*simulated*ttft_max*PASS"])
    result.stdout.fnmatch_lines(["budgets: 1 PASS, * INVALID"])


def test_what_came_outside_of_a_test_belongs_to_none(runs: Runs, any_path: HostileServer) -> None:
    result = runs.plain(
        ASKS
        + """
    @pytest.fixture
    def warmed_up(llm_client):
        post(llm_client, "/tokenize")
        post(llm_client, "/v1/batches", prompt="another")

    def test_asks(warmed_up, llm_client):
        llm_client.generate("x", max_tokens=4)
""",
        *any_path.options,
    )
    result.stdout.fnmatch_lines(["budgets: 4 PASS", "1 call of the app belongs to no test: *"])


def test_a_test_that_uses_the_client_of_another_is_told_so(runs: Runs) -> None:
    result = runs(
        """
    pytestmark = [pytest.mark.latency_budget(ttft_max="1 min"), pytest.mark.memory_budget(peak="10 GiB")]
    KEPT = []

    def test_keeps_it(llm_client):
        KEPT.append(llm_client)
        llm_client.generate("x", max_tokens=2)

    def test_borrows_it(llm_client):
        KEPT[0].generate("x", max_tokens=2)

    def test_has_only_the_borrowed(llm_engine):
        KEPT[0].chat("x", max_tokens=2)
""",
        "-p",
        "no:randomly",
    )
    sentence = "the test sent 1 call that is not read: llm_client of another test"
    result.stdout.fnmatch_lines([f"why: * INVALID: {sentence} (*", "budgets: 4 PASS, 2 INVALID"])
    result.stdout.no_fnmatch_line("*still running*")
