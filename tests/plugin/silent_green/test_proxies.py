"""A server on another host is asked through the proxy of the environment, one on this host never."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.helpers.connect_proxy import ConnectProxy
from tests.helpers.waiting import PATIENCE_S
from tests.plugin.silent_green.senders import SEND

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Runs
    from tests.helpers.hostile_server import HostileServer

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl, to make a certificate")

NAME = "llm.example"
WAYS = ("client", "client, chat", "prompts", "load", "app")
SUITE = f"""
{SEND}
@pytest.mark.latency_budget(e2e_max="1 min")
@pytest.mark.parametrize("way", {WAYS})
def test_it(llm_client, way):
    send(llm_client, way)

def test_a_task(llm_client):
    import asyncio
    asyncio.run(llm_client.achat("x", max_tokens=4))
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-days", "2"]
    command += ["-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
    return folder


@pytest.fixture
def secure(hostile: HostileServer, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> HostileServer:
    """The same server with TLS, under a name that no resolver knows."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert", certificate / "key")
    hostile.encrypt(context)
    return hostile


@pytest.fixture
def proxy(secure: HostileServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConnectProxy]:
    with ConnectProxy(secure.address, authorization="Basic bWU6cEBzcw==").running() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:p%40ss@127.0.0.1:{proxy.port}")
        yield proxy


def test_each_way_to_ask_goes_through_it(runs: Runs, secure: HostileServer, proxy: ConnectProxy) -> None:
    result = runs.plain(SUITE, "--llm-engine=openai", f"--llmperf-url=https://{NAME}:8443/v1")
    result.assert_outcomes(passed=len(WAYS) + 1)
    assert len(secure.asked) == 9
    assert {head.partition(" HTTP/1.")[0] for head in proxy.requests} == {f"CONNECT {NAME}:8443"}
    result.stdout.no_fnmatch_line("*p@ss*")


def test_without_its_password_the_line_says_so(
    runs: Runs, secure: HostileServer, proxy: ConnectProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    result = runs.plain(SUITE, "--llm-engine=openai", f"--llmperf-url=https://{NAME}:8443/v1", "-k", "client")
    result.stdout.fnmatch_lines([f"no answer from https://{NAME}:8443/v1/models: *407*"])
    assert not secure.asked


def test_another_kind_of_proxy_is_refused_before_anything_is_sent(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1080")
    result = runs.plain(SUITE, "--llm-engine=openai", f"--llmperf-url=https://{NAME}/v1")
    result.stderr.fnmatch_lines(["*HTTPS_PROXY names a proxy of a kind that is not supported: write http://HOST:PORT*"])


def test_a_server_of_this_host_is_asked_directly(
    runs: Runs, hostile: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    runs.plain(SUITE, *hostile.options).assert_outcomes(passed=len(WAYS) + 1)
