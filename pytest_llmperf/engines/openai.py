"""The ``openai`` engine: any OpenAI-compatible server that already runs. It is checked, used and never stopped."""

from __future__ import annotations

import json
import os
import urllib.error
from urllib.parse import urlsplit

from pytest_llmperf.engines.base import Engine, EngineError, EngineSpec, Progress
from pytest_llmperf.engines.process import http_get
from pytest_llmperf.telemetry.device import engine_devices

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ARGUMENTS = ("api_key",)


class OpenAIEngine(Engine):
    """Attached by ``--llmperf-url``. The API key comes from ``api_key=`` or the environment's ``OPENAI_API_KEY``."""

    name = "openai"

    @classmethod
    def check(cls, spec: EngineSpec) -> None:
        if not spec.url:
            raise EngineError("openai attaches to a running server: give --llmperf-url=http://HOST:PORT")
        if spec.binary:
            raise EngineError("openai starts nothing: it takes no --llmperf-engine-bin")
        for key in spec.args:
            if key not in _ARGUMENTS:
                raise EngineError(f"openai: unknown engine argument {key!r}; it takes {', '.join(_ARGUMENTS)}")
        parts = urlsplit(spec.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EngineError(f"--llmperf-url={spec.url!r} is not an address: write http://HOST:PORT")

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        assert spec.url is not None
        self.base_url = spec.url.rstrip("/").removesuffix("/v1") + "/v1"
        self.api_key = spec.args.get("api_key", os.environ.get("OPENAI_API_KEY", ""))
        self._pids: tuple[int, ...] = ()

    def start(self, progress: Progress) -> None:
        served = self._served_models()
        if not self.model and len(served) == 1:
            self.model = served[0]
        if self.model not in served:
            asked = f"does not serve {self.model!r}" if self.model else "serves several models: name one"
            raise EngineError(
                f"the server at {self.base_url} {asked}; --llmperf-model is one of {', '.join(served) or '(none)'}"
            )
        self._pids = _listening_pids(self.base_url)
        if self._pids:
            self.devices = engine_devices()
        progress(f"{self.name}: attached to {self.model} at {self.base_url}")

    def _served_models(self) -> list[str]:
        url = f"{self.base_url}/models"
        try:
            body = http_get(url, api_key=self.api_key)
            return [str(model["id"]) for model in json.loads(body)["data"]]
        except urllib.error.HTTPError as error:
            with error:
                hint = "; give --llmperf-engine-arg=api_key=KEY" if error.code in (401, 403) else ""
            raise EngineError(f"{url} answered HTTP {error.code}{hint}") from None
        except OSError as error:
            cause = getattr(error, "reason", error)
            raise EngineError(f"nobody answers at {url}: {cause}; is the server running?") from None
        except (ValueError, KeyError, TypeError):
            raise EngineError(f"{url} is no OpenAI API: its answer lists no models") from None

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


def _listening_pids(base_url: str) -> tuple[int, ...]:
    """The process that listens there, when it is one of this host that we may look at."""
    import psutil

    parts = urlsplit(base_url)
    if parts.hostname not in _LOOPBACK:
        return ()
    try:
        listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    except psutil.AccessDenied:
        return ()
    found = {c.pid for c in listening if c.laddr.port == parts.port and c.pid is not None}
    return tuple(sorted(found))
