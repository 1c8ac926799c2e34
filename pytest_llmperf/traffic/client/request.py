"""One request to a model: its checked body, its course, and its answer."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pytest_llmperf.traffic.answers.answer import Answer, Arrival
from pytest_llmperf.traffic.client.exchange import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint

    Messages = str | Sequence[Mapping[str, Any]]


class RequestFailed(Exception):  # noqa: N818
    """A request was not answered in full; the message is one line, ``timing`` what was seen of it."""

    def __init__(self, message: str, timing: RequestTiming) -> None:
        super().__init__(message)
        self.timing = timing


class Attempt(Protocol):
    """One request and what has come of it so far, in a form that its transport can ``read``.

    ``pieces`` are the body's bytes as (stamp, bytes). ``sent_ns`` is 0 until it is sent. Stamps are
    ``time.monotonic_ns()``.
    """

    path: str
    sent_ns: int
    end_ns: int
    status: int | None
    headers: dict[str, str]

    @property
    def pieces(self) -> Sequence[tuple[int, bytes]]: ...


@dataclass
class Call:
    """One request on its way. ``read`` parses what it brings; ``fault`` is why it failed, empty while it has not."""

    attempt: Attempt
    read: Callable[[Arrival], Answer]
    streamed: bool
    shared_prefix: bool = False
    fault: str = ""

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Notes what goes wrong inside; a failure of the transport ends here, everything else goes on."""
        try:
            yield
        except TransportError as error:
            self.fault = str(error)
        except Exception as error:
            self.fault = f"{type(error).__name__}: {error}"
            raise
        except BaseException:
            self.fault = "cancelled"
            raise
        finally:
            if self.fault:
                self.attempt.end_ns = time.monotonic_ns()

    def answer(self) -> Answer:
        """What has come, with the reason in ``timing.error`` where it is not all."""
        attempt = self.attempt
        return self.read(
            Arrival(
                sent_ns=attempt.sent_ns,
                end_ns=attempt.end_ns,
                pieces=attempt.pieces,
                status=attempt.status,
                content_type=attempt.headers.get("content-type", ""),
                streamed=self.streamed,
                shared_prefix=self.shared_prefix,
                fault=self.fault,
            )
        )

    def checked(self, answer: Answer) -> Answer:
        """The answer.

        Raises:
            RequestFailed: it is not complete.
        """
        if answer.timing.error is not None:
            raise RequestFailed(f"POST {self.attempt.path}: {answer.timing.error}", answer.timing)
        return answer


@dataclass(frozen=True)
class Post:
    """What one request posts, checked: ``path`` below the base URL, and its body."""

    path: str
    body: Mapping[str, Any]
    streamed: bool
    shared_prefix: bool


def completion(endpoint: Endpoint, dialect: Dialect, prompt: object, settings: Mapping[str, Any]) -> Post:
    """``POST /completions``.

    Raises:
        ValueError: the prompt is not one string, or a setting cannot be measured.
    """
    if not isinstance(prompt, str):
        raise ValueError("prompt must be a string; run() takes several prompts, chat() takes messages")
    return _post("/completions", {"model": endpoint.model, "prompt": prompt}, dialect, settings)


def conversation(endpoint: Endpoint, dialect: Dialect, messages: Messages, settings: Mapping[str, Any]) -> Post:
    """``POST /chat/completions``; a string is one message of the user.

    Raises:
        ValueError: there is no message, or a setting cannot be measured.
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if not messages:
        raise ValueError("messages must hold at least one message")
    return _post("/chat/completions", {"model": endpoint.model, "messages": list(messages)}, dialect, settings)


def _post(path: str, content: Mapping[str, Any], dialect: Dialect, settings: Mapping[str, Any]) -> Post:
    own = {key: value for key, value in settings.items() if key != "share_prefix"}
    share = bool(settings.get("share_prefix"))
    body = {**dialect.defaults, **dialect.prefix_settings(share), **content, **own}
    at_least_one("max_tokens", body["max_tokens"])
    if body.get("n", 1) != 1:
        raise ValueError(f"n={body['n']!r} cannot be measured: servers count the tokens of the first choice only")
    streamed = bool(body["stream"])
    if streamed:
        asked = body.get("stream_options") or {}
        body["stream_options"] = {"include_usage": True, **dialect.stream_options, **asked}
    # A test that sets the engine's own switches for its cache has asked for what they do.
    shared = share or bool(own.get("cache_prompt") or own.get("cache_salt"))
    return Post(path, body, streamed, shared)


def at_least_one(name: str, value: object) -> None:
    """Refuses everything but a whole number from 1 on, with a ValueError that names the argument."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name}={value!r} must be a whole number of at least 1")
