"""A server that already runs: it is checked, used and never stopped."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil

from pytest_llmperf.engines.api.deployment import Deployment
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState, EngineStatus
from pytest_llmperf.engines.lifecycle.http import http_get, list_served_models
from pytest_llmperf.engines.lifecycle.listeners import find_listening_pids, parse_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.engines.api.spec import EngineSpec, Progress

_ARGUMENTS = ("api_key", "pid")


class AttachedDeployment(Deployment):
    """The server at ``--llmperf-url``. Its API key comes from ``api_key=`` or the environment's ``OPENAI_API_KEY``.

    Its memory is that of what listens there, or of the process ``pid=`` where a proxy does.
    ``read_version`` is called with the base URL, and raises an EngineError for a server of another kind; None for a
    server that states no version.
    """

    attached = True

    def __init__(self, spec: EngineSpec, read_version: Callable[[str], str] | None = None) -> None:
        super().__init__(spec)
        assert spec.url is not None
        self.base_url = spec.url.rstrip("/").removesuffix("/v1") + "/v1"
        self.api_key = spec.args.get("api_key", os.environ.get("OPENAI_API_KEY", ""))
        self._read_version = read_version
        self._pids: tuple[int, ...] = ()

    @staticmethod
    def check(spec: EngineSpec) -> None:
        """Refuses a spec that no attached server can satisfy.

        Raises:
            EngineError: naming the option and what would be right.
        """
        if not spec.url:
            raise EngineError(f"{spec.engine} attaches to a running server: give --llmperf-url=http://HOST:PORT")
        if spec.binary:
            raise EngineError(f"{spec.engine} with --llmperf-url starts nothing: it takes no --llmperf-engine-bin")
        for key in spec.args:
            if key not in _ARGUMENTS:
                raise EngineError(
                    f"{spec.engine} with --llmperf-url: unknown engine argument {key!r}; "
                    f"it takes {', '.join(_ARGUMENTS)}"
                )
        if parse_address(spec.url) is None:
            raise EngineError(f"--llmperf-url={spec.url!r} is not an address: write http://HOST:PORT")
        _parse_pid(spec)

    def start(self, progress: Progress) -> None:
        self.state = EngineState.STARTING
        served = list_served_models(self.base_url, self.api_key)
        if not self.model and len(served) == 1:
            self.model = next(iter(served))
        if not served:
            raise EngineError(f"the server at {self.base_url} serves no model")
        if self.model not in served:
            asked = f"does not serve {self.model!r}" if self.model else "serves several models: name one"
            raise EngineError(f"the server at {self.base_url} {asked}; --llmperf-model is one of {', '.join(served)}")
        if self._read_version is not None:
            self.version = self._read_version(self.base_url)
        pid = _parse_pid(self.spec)
        self._pids = find_listening_pids(self.base_url) if pid is None else (pid,)
        self.may_forward = pid is None
        self.stated_weights = served[self.model]
        self.state = EngineState.READY
        progress(f"{self.name}: attached to {self.model} at {self.base_url}")

    def stop(self) -> None:
        """Does nothing: it was not started here."""

    def empty_prompt_cache(self) -> None:
        raise EngineError("the server was not started here, and what it caches serves its other users")

    @property
    def pids(self) -> tuple[int, ...]:
        return self._pids

    def read_status(self) -> EngineStatus:
        try:
            http_get(f"{self.base_url}/models", api_key=self.api_key)
        except OSError as error:
            cause = getattr(error, "reason", error)
            return EngineStatus(EngineState.ENDED, f"the server at {self.base_url} no longer answers ({cause})")
        return EngineStatus(self.state)


def _parse_pid(spec: EngineSpec) -> int | None:
    """The pid that ``pid=`` names; None without it.

    Raises:
        EngineError: there is no such process.
    """
    text = spec.args.get("pid")
    if text is None:
        return None
    if not text.isdecimal() or not psutil.pid_exists(int(text)):
        raise EngineError(f"{spec.engine}: pid={text!r} is no process of this host")
    return int(text)
