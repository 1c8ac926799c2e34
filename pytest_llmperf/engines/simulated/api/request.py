"""What all APIs of the simulated engine have in common: how a body is read, and what a request asks for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pytest_llmperf.engines.simulated.model.settings import Simulation, SimulationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.engines.simulated.model.content import Content, Wanted
    from pytest_llmperf.engines.simulated.model.schedule import Emission


class RequestError(Exception):
    """A request that an API refuses, with the HTTP status of the refusal."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Ask:
    """What one request to generate asks for; ``simulation`` has the request's own ``simulate`` settings in it.

    Attributes:
        usage: whether a stream states its token counts at its end, ``continuous_usage`` whether with each chunk.
        logprobs: how many likely tokens are stated beside each token of the text; None if nothing is.
        echoed: fields of the request that its answer repeats.
    """

    simulation: Simulation
    prompt: tuple[str, ...]
    wanted: Wanted
    stream: bool = False
    usage: bool = False
    continuous_usage: bool = False
    logprobs: int | None = None
    is_warmup: bool = False
    echoed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def prompt_tokens(self) -> int:
        return len(self.prompt)


@dataclass(frozen=True)
class Reply:
    """An answer to be written: ``number`` is the request's, ``created`` in seconds of the calendar."""

    ask: Ask
    content: Content
    number: int
    created: int
    cached_tokens: int = 0


class Writer(Protocol):
    """Writes one answer in the form of an API: as events of a stream, or whole."""

    def begin(self) -> bytes:
        """The events before the first token; b"" for none."""

    def write(self, emission: Emission) -> bytes:
        """The events of one chunk."""

    def end(self) -> bytes:
        """The events after the last token."""

    def fail(self, message: str) -> bytes:
        """The events of a stream that ends with an error, in place of the rest."""

    def make_whole(self) -> dict[str, Any]:
        """The body of an answer that is not streamed."""


class Api(Protocol):
    """One way to ask for generated text."""

    def read(self, asked: Mapping[str, Any], simulation: Simulation) -> Ask:
        """What a body asks for.

        Raises:
            RequestError: the body is not understood.
        """

    def make_writer(self, reply: Reply) -> Writer:
        """What writes an answer."""

    def describe_error(self, status: int, message: str, code: str | None = None) -> dict[str, Any]:
        """The body of a refusal."""


def parse_body(body: bytes, simulation: Simulation) -> tuple[dict[str, Any], Simulation]:
    """The fields of a body, and the simulation as this request wants it.

    Raises:
        RequestError: 400 for a body that is not understood, 404 for a model that is not served.
    """
    try:
        asked = json.loads(body)
    except ValueError as error:
        raise RequestError(400, f"the body is not JSON: {error}") from None
    if not isinstance(asked, dict):
        raise RequestError(400, "the body is not a JSON object")
    if asked.get("model") not in (None, simulation.model):
        raise RequestError(404, f"the model {asked['model']!r} does not exist", "model_not_found")
    for key in ("n", "best_of"):
        if asked.get(key) not in (None, 1):
            raise RequestError(400, f"{key}={asked[key]!r}: the simulated engine gives one answer to a request")
    settings = asked.get("simulate")
    if settings is None:
        return asked, simulation
    if not isinstance(settings, dict):
        raise RequestError(400, "'simulate' is not a JSON object of settings")
    try:
        return asked, simulation.with_request(settings)
    except SimulationError as error:
        raise RequestError(400, str(error)) from None


def is_warmup(asked: Mapping[str, Any]) -> bool:
    """Whether a request warms the engine up, or asks it something beside the test."""
    return (asked.get("simulate") or {}).get("warmup") is True


def read_count(asked: Mapping[str, Any], *keys: str, most: int | None = None) -> int | None:
    """The first of ``keys`` that is given, a whole number of 1 or more; None if none is."""
    for key in keys:
        value = asked.get(key)
        if value is None:
            continue
        if type(value) is not int or value < 1 or (most is not None and value > most):
            raise RequestError(400, f"{key}={value!r} is not a whole number {describe_range(most)}")
        return value
    return None


def describe_range(most: int | None) -> str:
    return "of 1 or more" if most is None else f"from 1 to {most}"


def read_object(asked: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object in a field; an empty one if there is none."""
    value = asked.get(key)
    if value is not None and not isinstance(value, dict):
        raise RequestError(400, f"{key} is not a JSON object")
    return value or {}


def read_objects(asked: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The list of objects in a field; an empty one if there is none."""
    value = asked.get(key)
    if value is not None and not (isinstance(value, list) and all(isinstance(one, dict) for one in value)):
        raise RequestError(400, f"{key} is not a list of objects")
    return value or []


def read_stop(asked: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The words before which a text ends."""
    value = asked.get(key)
    words = [value] if isinstance(value, str) else value or []
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise RequestError(400, f"{key}={value!r} is neither a text nor a list of texts")
    return tuple(words)


def find_texts(content: object) -> list[str]:
    """The texts of a message's content: of a string, or of parts; what is no text, such as an image, as JSON."""
    if content is None:
        return []
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        raise RequestError(400, "the content of a message is neither a text nor a list of parts")
    found = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) else part
        found.append(text if isinstance(text, str) else json.dumps(part, separators=(",", ":")))
    return found


def make_event(event: Mapping[str, Any], name: str = "") -> bytes:
    """A server-sent event, with a name if it has one."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"
