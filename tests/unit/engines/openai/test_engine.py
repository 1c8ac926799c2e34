from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.engines.lifecycle.http import check_port, find_free_port, get_http_status, read_stated_weights
from pytest_llmperf.engines.openai.engine import OpenAIEngine
from pytest_llmperf.engines.registry import EngineRegistry
from pytest_llmperf.measurement.reading import Missing
from tests.helpers.waiting import PATIENCE_S, read_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    server: ModelServer

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Authorization"]))
        location = self.server.locations.get(self.path)
        self.send_response(307 if location else self.server.status)
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        """Nothing is to be logged."""


class ModelServer(ThreadingHTTPServer):
    """Answers every GET alike and notes its path and authorization."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.body = b""
        self.asked: list[tuple[str, str | None]] = []
        self.locations: dict[str, str] = {}
        self.url = f"http://127.0.0.1:{self.server_port}"

    def serves(self, *models: str) -> None:
        self.body = json.dumps({"object": "list", "data": [{"id": model} for model in models]}).encode()


@contextlib.contextmanager
def serving(server: ModelServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_S)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    server = ModelServer()
    server.serves("llama")
    with serving(server):
        yield server


@contextlib.contextmanager
def raw_server(answer: bytes) -> Iterator[str]:
    """The address of a server that sends ``answer`` to whoever connects, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(PATIENCE_S)


def attach(url: str, **asked: str) -> OpenAIEngine:
    spec = EngineSpec("openai", url=url, model=asked.pop("model", None), args=asked)
    OpenAIEngine.check(spec)
    engine = OpenAIEngine(spec)
    engine.start(lambda _: None)
    return engine


def refusal(url: str, **asked: str) -> str:
    with pytest.raises(EngineError) as caught:
        attach(url, **asked)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_only_model_of_a_server_is_taken(server: ModelServer) -> None:
    engine = attach(server.url)
    assert (engine.model, engine.base_url) == ("llama", f"{server.url}/v1")
    assert engine.startup_time is None
    assert engine.read_status().reason == ""
    assert server.asked[0] == ("/v1/models", None)


@pytest.mark.parametrize("ending", ["/", "/v1", "/v1/"])
def test_the_address_may_be_written_with_or_without_its_version(server: ModelServer, ending: str) -> None:
    assert attach(server.url + ending).base_url == f"{server.url}/v1"


@pytest.mark.parametrize(
    "path", ["/v3", "/v1beta/openai", "/openai/deployments/gpt-4", "/proxy/v1", "/a/b/c/v1", "/a%20b/%7Ec/v1"]
)
def test_an_address_with_a_path_is_taken_as_it_is(server: ModelServer, path: str) -> None:
    engine = attach(f"{server.url}{path}/")
    assert engine.base_url == f"{server.url}{path}"
    assert server.asked[0][0] == f"{path}/models"


@pytest.mark.parametrize(("written", "path"), [("/v3?api-version=1&x=%20", "/v3"), ("?api-version=1&x=%20", "/v1")])
def test_a_query_belongs_to_each_request_and_not_to_the_address(server: ModelServer, written: str, path: str) -> None:
    engine = attach(server.url + written)
    assert engine.base_url == f"{server.url}{path}"
    assert engine.endpoint.url == f"{server.url}{path}?api-version=1&x=%20"
    assert engine.read_status().reason == ""
    lists = [asked for asked, _ in server.asked if "/models" in asked]
    assert lists == [f"{path}/models?api-version=1&x=%20"] * 2


def test_a_host_may_be_written_in_capitals(server: ModelServer) -> None:
    engine = attach(server.url.replace("http://127.0.0.1", "HTTP://LocalHost"))
    assert engine.model == "llama"
    assert engine.pids == (os.getpid(),)


def test_an_address_of_ipv6_stands_in_brackets(server: ModelServer) -> None:
    class ModelServer6(ModelServer):
        address_family = socket.AF_INET6

        def server_bind(self) -> None:
            self.server_address = ("::1", 0)
            super().server_bind()

    try:
        other = ModelServer6()
    except OSError:
        pytest.skip("this host has no IPv6")
    other.serves("llama")
    with serving(other):
        engine = attach(f"http://[::1]:{other.server_port}/v3")
        assert (engine.model, engine.base_url) == ("llama", f"http://[::1]:{other.server_port}/v3")
        assert engine.read_status().reason == ""


def test_a_redirect_within_the_server_is_followed_with_the_key(server: ModelServer) -> None:
    server.locations["/v1/models"] = "/v1/models/"
    attach(server.url, api_key="a-key")
    assert server.asked[:2] == [("/v1/models", "Bearer a-key"), ("/v1/models/", "Bearer a-key")]


@pytest.mark.parametrize("path", ["/v1/models", "/else?key=1"])
def test_a_redirect_to_another_server_is_not_followed_and_said(server: ModelServer, path: str) -> None:
    other = ModelServer()
    other.serves("llama")
    with serving(other):
        server.locations["/v1/models"] = other.url + path
        where = other.url + path.partition("?")[0]
        assert refusal(server.url, api_key="a-key") == (
            f"{server.url}/v1/models redirects to another server, {where}: if that is meant, give its address as "
            "--llmperf-url"
        )
    assert not other.asked


@pytest.mark.parametrize("path", ["/slots", "/metrics"])
def test_no_page_of_a_server_leads_its_key_to_another_one(server: ModelServer, path: str) -> None:
    other = ModelServer()
    with serving(other):
        server.locations[path] = other.url + path
        assert attach(server.url, api_key="a-key").insight.count_running() == Missing(
            "the server tells neither by /metrics nor by /slots which requests it works on"
        )
    assert not other.asked


def said_by(url: str, model: str) -> str:
    """The last line that attaching says."""
    said: list[str] = []
    OpenAIEngine(EngineSpec("openai", url=url, model=model)).start(said.append)
    return said[-1]


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_a_server_without_a_list_of_models_is_used_for_a_named_one(server: ModelServer, status: int) -> None:
    server.status = status
    assert refusal(server.url) == (
        f"{server.url}/v1/models answered HTTP {status}; is the URL that of the API? If so, give --llmperf-model=NAME"
    )
    assert said_by(server.url, model="gpt") == (
        f"openai: attached to gpt at {server.url}/v1; it lists no models "
        f"({server.url}/v1/models answered HTTP {status}), so the name was not checked"
    )
    assert attach(server.url, model="gpt").read_status().reason == ""


def test_a_server_that_fails_later_is_gone_though_it_lists_no_models(server: ModelServer) -> None:
    server.status = 404
    engine = attach(server.url, model="gpt")
    server.status = 503
    assert "no longer answers" in engine.read_status().reason


def test_a_server_with_an_empty_list_is_used_for_a_named_model(server: ModelServer) -> None:
    server.serves()
    assert said_by(server.url, model="gpt").endswith("; its list of models is empty, so the name was not checked")


def test_a_pattern_in_the_list_stands_for_a_named_model(server: ModelServer) -> None:
    server.serves("openai/*", "llama")
    assert said_by(server.url, model="openai/gpt").endswith("; it lists openai/*, so the name was not checked")
    assert said_by(server.url, model="llama").endswith("/v1")
    assert "does not serve 'gpt'" in refusal(server.url, model="gpt")
    assert "serves several models" in refusal(server.url)
    server.serves("openai/*")
    assert refusal(server.url).endswith("lists only the pattern openai/*; give --llmperf-model=NAME")


def test_a_model_that_is_listed_twice_is_one(server: ModelServer) -> None:
    server.body = json.dumps({"data": [{"id": "llama", "meta": {"size": 7}}, {"id": "llama"}]}).encode()
    assert attach(server.url).deployment.stated_weights == 7


def test_a_bare_list_of_models_is_one(server: ModelServer) -> None:
    server.body = b'[{"id": "llama"}]'
    assert attach(server.url).model == "llama"


def test_one_of_several_models_must_be_named(server: ModelServer) -> None:
    server.serves("llama", "qwen")
    assert refusal(server.url).endswith("serves several models: name one; --llmperf-model is one of llama, qwen")
    assert attach(server.url, model="qwen").model == "qwen"


def test_a_model_that_the_server_does_not_serve_is_refused(server: ModelServer) -> None:
    assert "does not serve 'gpt'; --llmperf-model is one of llama" in refusal(server.url, model="gpt")


def test_a_name_without_a_tag_is_that_of_the_latest(server: ModelServer) -> None:
    server.serves("smol:latest", "qwen:1b")
    assert attach(server.url, model="smol").model == "smol"
    assert "does not serve 'qwen'" in refusal(server.url, model="qwen")
    server.serves("smol:1b")
    assert "does not serve 'smol:latest'" in refusal(server.url, model="smol:latest")


def test_a_server_without_any_model_is_refused(server: ModelServer) -> None:
    server.serves()
    assert refusal(server.url).endswith("lists no model; give --llmperf-model=NAME")


def test_the_key_is_sent_from_the_argument_or_the_environment(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    assert attach(server.url).api_key == "from-environment"
    assert attach(server.url, api_key="given").api_key == "given"
    keys = [key for path, key in server.asked if path == "/v1/models"]
    assert keys == ["Bearer from-environment", "Bearer given"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_says_how_to_give_one(server: ModelServer, status: int) -> None:
    server.status = status
    assert refusal(server.url) == (
        f"{server.url}/v1/models answered HTTP {status}; give --llmperf-engine-arg=api_key=KEY"
    )


def test_another_status_is_told(server: ModelServer) -> None:
    server.status = 500
    assert refusal(server.url) == f"{server.url}/v1/models answered HTTP 500"


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b"[5]", b'{"data": [{"name": "x"}]}', b'{"data": null}'])
def test_a_server_with_another_api_is_refused(server: ModelServer, body: bytes) -> None:
    server.body = body
    assert refusal(server.url) == (
        f"{server.url}/v1/models is not an OpenAI API: its answer lists no models; "
        "is the URL that of the API? If so, give --llmperf-model=NAME"
    )


def test_a_server_that_does_not_speak_http_is_refused() -> None:
    with raw_server(b"SSH-2.0-OpenSSH_9.2\r\n") as url:
        assert "the answer is not HTTP/1.1: it does not begin with a status line" in refusal(url)
    with raw_server(b"SSH-2.0-OpenSSH_9.2\r\n") as url:
        assert get_http_status(url) is None


def test_a_server_that_is_not_there_is_refused() -> None:
    url = f"http://127.0.0.1:{find_free_port()}"
    assert refusal(url).startswith(f"no answer from {url}/v1/models: ")


def test_a_server_of_this_host_is_seen_and_neither_stopped_nor_restarted(server: ModelServer) -> None:
    engine = attach(server.url)
    assert engine.pids == (os.getpid(),)
    assert engine.memory().resident
    engine.stop()
    engine.stop()
    assert engine.read_status().reason == ""
    with pytest.raises(EngineError, match="was not started here"):
        engine.restart()


def test_workers_that_share_the_socket_are_one_engine_with_their_parent(tmp_path: Path) -> None:
    script = (
        "import http.server, os, sys\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200)\n"
        "        self.end_headers()\n"
        '        self.wfile.write(b\'{"data": [{"id": "m"}]}\')\n'
        "server = http.server.HTTPServer(('127.0.0.1', 0), Handler)\n"
        "worker = os.fork()\n"
        "if worker:\n"
        "    print(worker, server.server_port, flush=True)\n"
        "server.serve_forever()\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as parent:
        _, port = read_line(parent.stdout).split()
        try:
            assert attach(f"http://127.0.0.1:{port}").pids == (parent.pid,)
        finally:
            os.killpg(parent.pid, 9)


def test_a_server_elsewhere_has_no_processes_here(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_llmperf.engines.lifecycle.listeners._LOOPBACK", ())
    engine = attach(server.url)
    assert engine.pids == ()
    assert engine.devices == ()
    assert engine.memory().resident is None


def test_the_process_that_is_named_is_the_servers_wherever_it_listens(server: ModelServer) -> None:
    engine = attach(server.url, pid=str(os.getppid()))
    assert engine.pids == (os.getppid(),)
    assert not engine.deployment.may_forward
    assert attach(server.url).deployment.may_forward


@pytest.mark.parametrize(
    ("listed", "weights"),
    [
        ({"id": "m", "meta": {"size": 96576768}}, 96576768),
        ({"id": "m", "meta": {"size": "92 MiB"}}, None),
        ({"id": "m", "meta": {"size": True}}, None),
        ({"id": "m", "meta": {"size": 0}}, None),
        ({"id": "m", "meta": {}}, None),
        ({"id": "m", "meta": None}, None),
        ({"id": "m"}, None),
    ],
)
def test_weights_are_what_the_list_of_models_states(listed: dict[str, object], weights: float | None) -> None:
    assert read_stated_weights(listed) == weights


def test_a_server_that_went_away_is_gone() -> None:
    server = ModelServer()
    server.serves("llama")
    with serving(server):
        engine = attach(server.url)
    assert engine.read_status().reason.startswith(f"the server at {server.url}/v1 no longer answers (")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (EngineSpec("openai"), "give --llmperf-url=http://HOST:PORT"),
        (EngineSpec("openai", url="localhost:8000"), "is not an address"),
        (EngineSpec("openai", url="http://"), "is not an address"),
        (EngineSpec("openai", url="http://host:port"), "is not an address"),
        (EngineSpec("openai", url="http://[::1"), "is not an address"),
        (EngineSpec("openai", url="http://host/v1#x"), "has a fragment"),
        (EngineSpec("openai", url="unix:///run/llm.sock"), "is a Unix socket, which is not supported: let the server"),
        (EngineSpec("openai", url="http+unix://%2Frun%2Fllm.sock/v1"), "is a Unix socket, which is not supported"),
        (EngineSpec("openai", url="/run/llm.sock"), "is a Unix socket, which is not supported"),
        (EngineSpec("openai", url="http://me:secret@host/v1"), r"http://\*\*\*@host/v1' has a user name, which no"),
        (EngineSpec("openai", url="http://me@host/v1"), "give a key by --llmperf-engine-arg=api_key=KEY"),
        (EngineSpec("openai", url="http://host/v1?key=secret#x"), r"key=\*\*\*"),
        (EngineSpec("openai", url="http://host/a b"), "characters that no request can carry"),
        (EngineSpec("openai", url="http://host/v1/chat/completions?a=1"), "one call: leave out /chat/completions"),
        (EngineSpec("openai", url="http://host", binary="vllm"), "takes no --llmperf-engine-bin"),
        (EngineSpec("openai", url="http://host", args={"ctx": "1"}), "unknown engine argument 'ctx'; it takes api_key"),
    ],
)
def test_what_can_never_work_is_refused_before_anything_is_asked(spec: EngineSpec, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        OpenAIEngine.check(spec)


@pytest.mark.parametrize("engine", ["openai", "vllm", "llamacpp", "ollama"])
@pytest.mark.parametrize("url", ["http://me:secret@host/v1", "unix:///x.sock", "http://host/v1#x?key=secret", "host:1"])
def test_each_engine_refuses_an_address_that_it_cannot_use_without_its_secrets(engine: str, url: str) -> None:
    with pytest.raises(EngineError, match=r"^--llmperf-url=.*(leave|let the server listen at|write) ") as caught:
        EngineRegistry().find(engine).check(EngineSpec(engine, url=url, model="m"))
    assert "secret" not in str(caught.value)


def test_a_port_that_is_taken_is_one_line(server: ModelServer) -> None:
    with pytest.raises(EngineError) as caught:
        check_port(str(server.server_port), "port")
    assert str(caught.value) == (
        f"port={server.server_port}: the port cannot be used (Address already in use); leave it out to get a free one"
    )


@pytest.mark.parametrize("text", ["http", "-1", "65536", "", "80.0"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(EngineError, match="is not a port: give 0"):
        check_port(text, "port")


def test_a_free_port_can_be_used() -> None:
    port = find_free_port()
    assert check_port(str(port), "port") == port
    assert check_port("0", "port") == 0
