"""Small HTTP and port helpers."""

from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.system.http.proxy import find_proxy
from pytest_llmperf.system.http.responses import BrokenAnswerError, StrictHTTPConnection, StrictHTTPSConnection

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# A whole answer may take so many times as long as a single silence of the server.
_WHOLE_TIMEOUTS = 4.0
_PIECE_BYTES = 65536


class _Plain(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(StrictHTTPConnection, request)


class _Secure(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(StrictHTTPSConnection, request)


UNREADABLE_JSON = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What reading the JSON that a server answers raises where it is of another form."""
NO_LIST = (400, 404, 405, 410, 501)
"""The statuses with which servers and gateways answer that have no list of models."""


_MOST_WEIGHTS = 1 << 63


class RedirectedError(OSError):
    """A server sends its clients to another one, which is not asked: what is sent may be a key.

    ``url`` is where it sends them.
    """

    def __init__(self, asked: str, url: str) -> None:
        super().__init__(f"{asked} redirects to another server, {url}")
        self.url = url


class _SameServer(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl)[:2] != urlsplit(req.full_url)[:2]:
            fp.close()
            raise RedirectedError(req.full_url.partition("?")[0], newurl.partition("?")[0])
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(request: urllib.request.Request, timeout: float) -> Any:
    """The answer to a request.

    Raises:
        OSError: there is none, or one of an error; or the proxy of the environment cannot be used.
    """
    parts = urlsplit(request.full_url)
    try:
        proxy = find_proxy(parts.hostname or "", parts.port or 443) if parts.scheme == "https" else None
    except ValueError as error:
        raise OSError(str(error)) from None
    # One set for the outside world must not stand between us and a server on this host.
    through = urllib.request.ProxyHandler({"https": proxy.url} if proxy is not None else {})
    return urllib.request.build_opener(through, _Plain, _Secure, _SameServer).open(request, timeout=timeout)


def get_http_status(url: str, timeout: float = 2.0) -> int | None:
    """The status of a GET; None if there is no answer, or none in HTTP."""
    try:
        with _open(urllib.request.Request(url), timeout) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except (OSError, http.client.HTTPException):
        return None


def http_get(url: str, *, api_key: str = "", timeout: float = 5.0) -> bytes:
    """The body of a GET.

    Raises:
        OSError: there is no answer, none in HTTP, or one with an error status (``urllib.error.HTTPError``, closed).
    """
    return _body(urllib.request.Request(url, headers=_authorize(api_key)), timeout)


def http_post(url: str, content: object = None, *, api_key: str = "", timeout: float = 5.0) -> bytes:
    """The body of the answer to a POST, without content or with some in JSON.

    Raises:
        OSError: as of :func:`http_get`.
    """
    data = b"" if content is None else json.dumps(content).encode()
    headers = {**_authorize(api_key), **({"Content-Type": "application/json"} if data else {})}
    return _body(urllib.request.Request(url, data, headers, method="POST"), timeout)


def _authorize(api_key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def _body(request: urllib.request.Request, timeout: float) -> bytes:
    try:
        with _open(request, timeout) as response:
            return _read_whole(response, time.monotonic() + _WHOLE_TIMEOUTS * timeout)
    except urllib.error.HTTPError as error:
        error.close()
        raise
    except (BrokenAnswerError, http.client.RemoteDisconnected) as error:
        raise OSError(str(error)) from error
    except http.client.HTTPException as error:
        raise OSError(f"the answer is not HTTP ({' '.join(str(error).split()) or type(error).__name__})") from error


def _read_whole(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """The body, which a server must not send byte by byte for ever.

    Raises:
        TimeoutError: it is not whole at the ``deadline``, a moment of ``time.monotonic()``.
    """
    pieces = []
    while piece := response.read1(_PIECE_BYTES):
        pieces.append(piece)
        if time.monotonic() > deadline:
            raise TimeoutError("the answer has no end")
    return b"".join(pieces)


class NoModelListError(EngineError):
    """The server answers and has no list of its models; the message is one line."""


def list_served_models(base_url: str, api_key: str = "", query: str = "") -> dict[str, float | None]:
    """The models that an OpenAI API lists, each with the bytes of its weights, as llama.cpp states them, or None.

    A model that is listed twice is one model.

    Raises:
        NoModelListError: the server has no such list.
        EngineError: there is no answer, or one that refuses or fails.
    """
    url = f"{base_url}/models"
    try:
        answer = json.loads(http_get(f"{url}?{query}" if query else url, api_key=api_key))
        found: dict[str, float | None] = {}
        for model in answer if isinstance(answer, list) else answer["data"]:
            weights = read_stated_weights(model)
            found[str(model["id"])] = found.get(str(model["id"])) if weights is None else weights
        return found
    except urllib.error.HTTPError as error:
        if error.code in NO_LIST:
            raise NoModelListError(f"{url} answered HTTP {error.code}") from None
        hint = "; give --llmperf-engine-arg=api_key=KEY" if error.code in (401, 403) else ""
        raise EngineError(f"{url} answered HTTP {error.code}{hint}") from None
    except RedirectedError as error:
        raise EngineError(f"{error}: if that is meant, give its address as --llmperf-url") from None
    except OSError as error:
        cause = getattr(error, "reason", error)
        raise EngineError(f"no answer from {url}: {cause}; is the server running?") from None
    except UNREADABLE_JSON:
        raise NoModelListError(f"{url} is not an OpenAI API: its answer lists no models") from None


def read_stated_weights(listed: Mapping[str, Any]) -> float | None:
    """The bytes of weights that an entry in a list of models states; None if it does not."""
    meta = listed.get("meta") if isinstance(listed, dict) else None
    size = meta.get("size") if isinstance(meta, dict) else None
    return float(size) if type(size) is int and 0 < size < _MOST_WEIGHTS else None


def parse_tokens(answer: bytes) -> list[int]:
    """The ids of tokens in an answer of ``/tokenize``, in the words of vLLM and of llama.cpp.

    Raises:
        OSError: it has none.
    """
    try:
        return [int(token) for token in json.loads(answer)["tokens"]]
    except UNREADABLE_JSON:
        raise OSError("its /tokenize does not answer with tokens") from None


def find_free_port() -> int:
    """A loopback port that was free a moment ago, for servers that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def check_port(text: str, setting: str) -> int:
    """The port asked for, once it is known to be free.

    Raises:
        EngineError: not a port, or one that is in use.
    """
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise EngineError(f"{setting}={text!r} is not a port: give 0 (any free one) to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(text)))
        except OSError as error:
            raise EngineError(
                f"{setting}={text}: the port cannot be used ({error.strerror}); leave it out to get a free one"
            ) from None
    return int(text)


def read_announced_url(path: Path) -> str | None:
    """The base URL that a server wrote to its announce file, ending in ``/v1``; None if there is no file yet."""
    try:
        return path.read_text(encoding="utf-8").strip() + "/v1"
    except FileNotFoundError:
        return None
