"""The ``openai`` engine: any OpenAI-compatible server that already runs. It is checked, used and never stopped."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import psutil

from pytest_llmperf.engines.api.engine import Engine, EngineError, EngineSpec, Progress
from pytest_llmperf.engines.lifecycle.http import http_get, served_models

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PORTS = {"http": 80, "https": 443}
# They listen on this host for a server that computes elsewhere, or in a container of its own.
_FORWARDERS = ("docker-proxy", "rootlessport", "slirp4netns", "pasta", "gvproxy", "ssh", "kubectl", "socat")
_ARGUMENTS = ("api_key",)


class OpenAIEngine(Engine):
    """Attached by ``--llmperf-url``. The API key comes from ``api_key=`` or the environment's ``OPENAI_API_KEY``."""

    name = "openai"

    @classmethod
    def check(cls, spec: EngineSpec) -> None:
        if not spec.url:
            raise EngineError(f"{cls.name} attaches to a running server: give --llmperf-url=http://HOST:PORT")
        if spec.binary:
            raise EngineError(f"{cls.name} with --llmperf-url starts nothing: it takes no --llmperf-engine-bin")
        for key in spec.args:
            if key not in _ARGUMENTS:
                raise EngineError(
                    f"{cls.name} with --llmperf-url: unknown engine argument {key!r}; it takes {', '.join(_ARGUMENTS)}"
                )
        if address_of(spec.url) is None:
            raise EngineError(f"--llmperf-url={spec.url!r} is not an address: write http://HOST:PORT")

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        assert spec.url is not None
        self.base_url = spec.url.rstrip("/").removesuffix("/v1") + "/v1"
        self.api_key = spec.args.get("api_key", os.environ.get("OPENAI_API_KEY", ""))
        self._pids: tuple[int, ...] = ()

    def start(self, progress: Progress) -> None:
        served = served_models(self.base_url, self.api_key)
        if not self.model and len(served) == 1:
            self.model = served[0]
        if not served:
            raise EngineError(f"the server at {self.base_url} serves no model")
        if self.model not in served:
            asked = f"does not serve {self.model!r}" if self.model else "serves several models: name one"
            raise EngineError(f"the server at {self.base_url} {asked}; --llmperf-model is one of {', '.join(served)}")
        self._pids = listening_pids(self.base_url)
        progress(f"{self.name}: attached to {self.model} at {self.base_url}")

    def stop(self) -> None:
        """It was not started here, so it is not stopped here."""

    def restart(self, progress: Progress = lambda _: None) -> None:
        raise EngineError(f"the server at {self.base_url} was not started here: it is not restarted either")

    @property
    def pids(self) -> tuple[int, ...]:
        return self._pids

    def gone(self) -> str:
        try:
            http_get(f"{self.base_url}/models", api_key=self.api_key)
        except OSError as error:
            return f"the server at {self.base_url} no longer answers ({getattr(error, 'reason', error)})"
        return ""


def address_of(url: str) -> tuple[str, int] | None:
    """Host and port; None when it is no address of a server."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    return (parts.hostname, port) if parts.hostname and parts.scheme in _PORTS else None


def listening_pids(base_url: str) -> tuple[int, ...]:
    """The root process of the server there, when it is one of this host that we may look at."""
    address = address_of(base_url)
    if address is None or address[0] not in _LOOPBACK:
        return ()
    try:
        listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        pids = {c.pid for c in listening if c.laddr and c.laddr.port == address[1] and c.pid}
        roots = {_first_listener(psutil.Process(pid), address[1]) for pid in pids}
        return tuple(sorted(root.pid for root in roots if root.name() not in _FORWARDERS))
    except psutil.Error:
        return ()


def _first_listener(process: psutil.Process, port: int) -> psutil.Process:
    """The farthest ancestor with the same socket: workers share it with the process that forked them."""
    root = process
    for parent in process.parents():
        # Called ``connections`` before psutil 6.
        list_connections = parent.net_connections if hasattr(parent, "net_connections") else parent.connections
        try:
            if any(
                c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port for c in list_connections("tcp")
            ):
                root = parent
        except psutil.AccessDenied:
            break
    return root
