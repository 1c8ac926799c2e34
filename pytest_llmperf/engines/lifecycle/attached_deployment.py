"""A server that already runs: it is checked, used and never stopped."""

from __future__ import annotations

import os
import re
import urllib.error
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil

from pytest_llmperf.engines.api.deployment import Deployment
from pytest_llmperf.engines.api.model_facts import ModelFacts
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState, EngineStatus
from pytest_llmperf.engines.lifecycle.http import NO_LIST, NoModelListError, http_get, list_served_models
from pytest_llmperf.engines.lifecycle.listeners import find_listening_pids, parse_address
from pytest_llmperf.system.http.proxy import find_proxy
from pytest_llmperf.system.known_keys import note_key
from pytest_llmperf.system.masking import mask_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_llmperf.engines.api.spec import EngineSpec, Progress

_ARGUMENTS = ("api_key", "pid")
# The tag of a name that has none.
_LATEST = ":latest"
_SOCKET = re.compile(r"(?:https?\+)?unix:|/", re.IGNORECASE)
_CALLS = ("/chat/completions", "/completions", "/responses", "/models")


class AttachedDeployment(Deployment):
    """The server at ``--llmperf-url``. Its API key comes from ``api_key=`` or the environment's ``OPENAI_API_KEY``.

    The URL is taken as it is given, its query being that of each request; one without a path gets ``/v1``. A model that
    is named need not be listed if there is a pattern in the list that the name fits, or if the server has no list of
    models and is of no kind that has one.

    Its memory is that of what listens there, or of the process ``pid=`` where a proxy does.
    ``read_version`` is called with the base URL, and raises an EngineError for a server of another kind; None for a
    server that states no version. ``read_facts`` is called with it too; None for a server that states none of them.
    """

    attached = True

    def __init__(
        self,
        spec: EngineSpec,
        read_version: Callable[[str], str] | None = None,
        read_facts: Callable[[str], ModelFacts] | None = None,
    ) -> None:
        super().__init__(spec)
        assert spec.url is not None
        self.base_url, self.query = _parse_url(spec.url)
        self.api_key = spec.args.get("api_key", os.environ.get("OPENAI_API_KEY", ""))
        note_key(self.api_key)
        self._read_version = read_version
        self._read_facts = read_facts
        self._pids: tuple[int, ...] = ()
        self._lists_models = True

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
        check_url(spec.url)
        _parse_pid(spec)

    def start(self, progress: Progress) -> None:
        self.state = EngineState.STARTING
        served, remark = self._find_model()
        if self._read_version is not None:
            self.version = self._read_version(self.base_url)
        pid = _parse_pid(self.spec)
        self._pids = find_listening_pids(self.base_url) if pid is None else (pid,)
        self.may_forward = pid is None
        self.stated_weights = served.get(self.model, served.get(f"{self.model}{_LATEST}"))
        self.state = EngineState.READY
        progress(f"{self.name}: attached to {self.model} at {self.base_url}{remark}")

    def _find_model(self) -> tuple[Mapping[str, float | None], str]:
        """Finds the model; returns what the server lists, and a remark on a model that is not there as it is named.

        Raises:
            EngineError: the server does not answer, no model was named and it lists not just one, or it lists others.
        """
        try:
            served = list_served_models(self.base_url, self.api_key, self.query)
        except NoModelListError as error:
            if self._read_version is not None:
                raise  # a server of this kind has a list
            if not self.model:
                raise EngineError(f"{error}; is the URL that of the API? If so, give --llmperf-model=NAME") from None
            self._lists_models = False
            return {}, f"; it lists no models ({error}), so the name was not checked"
        patterns = [name for name in served if "*" in name]
        if not self.model and len(served) == 1 and not patterns:
            self.model = next(iter(served))
        if self.model in served or (self.model and f"{self.model}{_LATEST}" in served):
            return served, ""
        if not self.model and patterns == list(served):
            asked = "lists no model" if not served else f"lists only the pattern {', '.join(patterns)}"
            raise EngineError(f"the server at {self.base_url} {asked}; give --llmperf-model=NAME")
        if self.model and not served:
            return served, "; its list of models is empty, so the name was not checked"
        fitting = [pattern for pattern in patterns if self.model and fnmatchcase(self.model, pattern)]
        if fitting:
            return served, f"; it lists {fitting[0]}, so the name was not checked"
        asked = f"does not serve {self.model!r}" if self.model else "serves several models: name one"
        raise EngineError(f"the server at {self.base_url} {asked}; --llmperf-model is one of {', '.join(served)}")

    def read_model_facts(self) -> ModelFacts:
        return self._read_facts(self.base_url) if self._read_facts is not None else ModelFacts()

    def stop(self) -> None:
        """Does nothing: it was not started here."""

    def empty_prompt_cache(self) -> None:
        raise EngineError("the server was not started here, and what it caches serves its other users")

    @property
    def pids(self) -> tuple[int, ...]:
        return self._pids

    def read_status(self) -> EngineStatus:
        try:
            url = f"{self.base_url}/models"
            http_get(f"{url}?{self.query}" if self.query else url, api_key=self.api_key)
        except OSError as error:
            if not self._lists_models and isinstance(error, urllib.error.HTTPError) and error.code in NO_LIST:
                return EngineStatus(self.state)  # it answers as it did when it was attached
            cause = getattr(error, "reason", error)
            return EngineStatus(EngineState.ENDED, f"the server at {self.base_url} no longer answers ({cause})")
        return EngineStatus(self.state)


def _parse_url(url: str) -> tuple[str, str]:
    """The base URL without its query, with ``/v1`` if it has no path; and the query."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/") or "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}", parts.query


def check_url(url: str) -> None:
    """Checks that a URL can be the beginning of the URLs of all calls.

    Raises:
        EngineError: it cannot; the message says what to write.
    """
    shown = f"--llmperf-url={mask_secrets(url)!r}"
    if _SOCKET.match(url):
        raise EngineError(
            f"{shown} is a Unix socket, which is not supported: let the server listen at http://HOST:PORT"
        )
    if parse_address(url) is None:
        raise EngineError(f"{shown} is not an address: write http://HOST:PORT")
    parts = urlsplit(url)
    if parts.username is not None:
        raise EngineError(
            f"{shown} has a user name, which no client here sends: leave it out, and give a key by "
            "--llmperf-engine-arg=api_key=KEY"
        )
    if parts.fragment or not url.isascii() or any(c.isspace() for c in url):
        raise EngineError(f"{shown} has a fragment, or characters that no request can carry: leave them out")
    call = next((call for call in _CALLS if parts.path.rstrip("/").endswith(call)), None)
    if call is not None:
        raise EngineError(f"{shown} is the address of one call: leave out {call}")
    try:
        if parts.scheme == "https":
            find_proxy(parts.hostname or "", parts.port or 443)
    except ValueError as error:
        raise EngineError(f"{shown}: {error}") from None


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
