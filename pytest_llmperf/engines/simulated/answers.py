"""The OpenAI API as the simulated engine speaks it: requests read strictly, answers built chunk by chunk."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import Any

from pytest_llmperf.engines.simulated.likely_tokens import list_likely_tokens
from pytest_llmperf.engines.simulated.schedule import Simulation, SimulationError

_MOST_LOGPROBS = 20


class RequestError(Exception):
    """A request the API refuses: ``status`` is the HTTP status, ``payload`` the body of the answer."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.payload = error_payload(status, message, "invalid_request_error", code)


def error_payload(status: int, message: str, kind: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code or status}}


@dataclass(frozen=True)
class Ask:
    """What one request asks for; ``simulation`` has the request's own ``simulate`` settings in it."""

    chat: bool
    simulation: Simulation
    prompt: tuple[str, ...]
    max_tokens: int
    stream: bool
    usage: bool
    continuous_usage: bool
    cached_tokens: int = 0
    is_warmup: bool = False
    logprobs: int = 0

    @property
    def prompt_tokens(self) -> int:
        return len(self.prompt)

    @property
    def output_tokens(self) -> int:
        return min(self.simulation.output_tokens or self.max_tokens, self.max_tokens)

    @property
    def finish_reason(self) -> str:
        return "stop" if 0 < self.simulation.output_tokens <= self.max_tokens else "length"


def read_request(chat: bool, body: bytes, simulation: Simulation) -> Ask:
    """A request to ``/v1/chat/completions`` (``chat``) or ``/v1/completions``.

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
    if asked.get("n") not in (None, 1):
        raise RequestError(400, f"n={asked['n']!r}: the simulated engine gives one answer to a request")
    simulation = _with_request(simulation, asked.get("simulate"))
    options = _stream_options(asked)
    usage = simulation.usage == "always" or (simulation.usage == "asked" and options.get("include_usage") is True)
    return Ask(
        chat=chat,
        # /v1/completions has no field for reasoning
        simulation=simulation if chat else replace(simulation, reasoning_tokens=0),
        prompt=_split_messages(asked) if chat else _split_prompt(asked, simulation),
        max_tokens=_max_tokens(asked, simulation.default_max_tokens),
        stream=asked.get("stream") is True,
        usage=usage,
        continuous_usage=usage and options.get("continuous_usage_stats") is True,
        is_warmup=(asked.get("simulate") or {}).get("warmup") is True,
        logprobs=0 if chat else _count_logprobs(asked),
    )


def _with_request(simulation: Simulation, settings: object) -> Simulation:
    if settings is None:
        return simulation
    if not isinstance(settings, dict):
        raise RequestError(400, "'simulate' is not a JSON object of settings")
    try:
        return simulation.with_request(settings)
    except SimulationError as error:
        raise RequestError(400, str(error)) from None


def _stream_options(asked: dict[str, Any]) -> dict[str, Any]:
    options = asked.get("stream_options") or {}
    if not isinstance(options, dict):
        raise RequestError(400, "stream_options is not a JSON object")
    return options


def _max_tokens(asked: dict[str, Any], default: int) -> int:
    for key in ("max_completion_tokens", "max_tokens"):
        value = asked.get(key)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise RequestError(400, f"{key}={value!r} is not a whole number of 1 or more")
        return value
    return default


def _count_logprobs(asked: dict[str, Any]) -> int:
    count = asked.get("logprobs") or 0
    if type(count) is not int or not 0 <= count <= _MOST_LOGPROBS:
        raise RequestError(400, f"logprobs={count!r} is not a whole number from 0 to {_MOST_LOGPROBS}")
    return count


def _split_prompt(asked: dict[str, Any], simulation: Simulation) -> tuple[str, ...]:
    prompt = asked.get("prompt")
    if isinstance(prompt, str):
        return tuple(prompt if simulation.tokenizer == "letters" else prompt.split())
    if isinstance(prompt, list) and prompt and all(isinstance(token, int) for token in prompt):
        return tuple(map(str, prompt))
    raise RequestError(400, "prompt is missing: give a string or a list of token ids")


def _split_messages(asked: dict[str, Any]) -> tuple[str, ...]:
    messages = asked.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise RequestError(400, "messages are missing: give a list of objects with role and content")
    return tuple(word for message in messages for word in _split_content(message.get("content")))


def _split_content(content: object) -> list[str]:
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return [word for text in texts if isinstance(text, str) for word in text.split()]


class Reply:
    """Builds the JSON of one answer, streamed or whole; ``number`` is the request's."""

    def __init__(self, ask: Ask, number: int) -> None:
        self._ask = ask
        self._id = f"{'chatcmpl' if ask.chat else 'cmpl'}-{number}"
        self._created = int(time.time())

    def role(self) -> bytes:
        """The first chunk of a chat stream: no token in it."""
        return self._event([self._choice({"role": "assistant", "content": ""}, None)], 0)

    def piece(self, text: str, kind: str, tokens_so_far: int) -> bytes:
        """A chunk that carries ``text``; ``tokens_so_far`` includes its own tokens."""
        key = "reasoning_content" if kind == "reasoning" else "content"
        return self._event([self._choice({key: text} if self._ask.chat else text, None)], tokens_so_far)

    def finish(self) -> bytes:
        """The chunk that carries the finish reason and nothing else."""
        empty: dict[str, str] | str = {} if self._ask.chat else ""
        return self._event([self._choice(empty, self._ask.finish_reason)], self._ask.output_tokens)

    def usage(self) -> bytes:
        """The chunk that carries the token counts and no choice."""
        return _sse(self._head(stream=True) | {"choices": [], "usage": self._usage(self._ask.output_tokens)})

    def whole(self, text: str, reasoning: str) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        choice: dict[str, Any] = {"index": 0, "finish_reason": self._ask.finish_reason, "logprobs": None}
        if self._ask.chat:
            choice["message"] = {"role": "assistant", "content": text}
            if reasoning:
                choice["message"]["reasoning_content"] = reasoning
        else:
            choice["text"] = text
            choice["logprobs"] = self._list_logprobs()
        payload = self._head(stream=False) | {"choices": [choice]}
        if self._ask.simulation.usage != "never":
            payload["usage"] = self._usage(self._ask.output_tokens)
        return payload

    def _list_logprobs(self) -> dict[str, Any] | None:
        """Those of the first token, in the older form of the API, as vLLM states them."""
        if not self._ask.logprobs:
            return None
        likely = list_likely_tokens(self._ask.simulation, self._ask.prompt, self._ask.logprobs)
        first = next(iter(likely))
        return {
            "tokens": [first],
            "token_logprobs": [likely[first]],
            "top_logprobs": [likely],
            "text_offset": [0],
        }

    def _choice(self, content: dict[str, str] | str, finish_reason: str | None) -> dict[str, Any]:
        key = "delta" if self._ask.chat else "text"
        return {"index": 0, key: content, "logprobs": None, "finish_reason": finish_reason}

    def _event(self, choices: list[dict[str, Any]], tokens_so_far: int) -> bytes:
        event = self._head(stream=True) | {"choices": choices}
        if self._ask.usage:
            event["usage"] = self._usage(tokens_so_far) if self._ask.continuous_usage else None
        return _sse(event)

    def _head(self, *, stream: bool) -> dict[str, Any]:
        kind = "text_completion"
        if self._ask.chat:
            kind = "chat.completion.chunk" if stream else "chat.completion"
        return {"id": self._id, "object": kind, "created": self._created, "model": self._ask.simulation.model}

    def _usage(self, tokens: int) -> dict[str, Any]:
        counts: dict[str, Any] = {
            "prompt_tokens": self._ask.prompt_tokens,
            "completion_tokens": tokens,
            "total_tokens": self._ask.prompt_tokens + tokens,
            "prompt_tokens_details": {"cached_tokens": self._ask.cached_tokens},
        }
        if not self._ask.simulation.states_cached:
            counts["prompt_tokens_details"] = None
        if self._ask.simulation.reasoning_tokens:
            reasoning = min(tokens, self._ask.simulation.reasoning_tokens)
            counts["completion_tokens_details"] = {"reasoning_tokens": reasoning}
        return counts


DONE = b"data: [DONE]\n\n"


def _sse(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"
