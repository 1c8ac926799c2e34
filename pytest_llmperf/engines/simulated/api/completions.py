"""``/v1/completions`` of OpenAI's API."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.simulated.api import logprobs
from pytest_llmperf.engines.simulated.api.chat import DONE, FINISH_REASONS, count_usage, describe_error, read_usage
from pytest_llmperf.engines.simulated.api.request import (
    Ask,
    Reply,
    RequestError,
    is_warmup,
    make_event,
    read_count,
    read_stop,
)
from pytest_llmperf.engines.simulated.model.content import Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.engines.simulated.model.schedule import Emission
    from pytest_llmperf.engines.simulated.model.settings import Simulation


class CompletionsApi:
    """Texts that go on from a prompt."""

    describe_error = staticmethod(describe_error)

    def read(self, asked: Mapping[str, Any], simulation: Simulation) -> Ask:
        """What a body asks for; see :class:`Api`."""
        for key in ("echo", "suffix"):
            if asked.get(key):
                raise RequestError(400, f"{key} is not known to the simulated engine")
        usage, continuous_usage = read_usage(asked, simulation)
        prompt = _find_prompt(asked)
        top = logprobs.read_count(asked, "logprobs")
        return Ask(
            # this API has no field for reasoning
            simulation=replace(simulation, reasoning_tokens=0) if simulation.reasoning_tokens else simulation,
            prompt=_split(prompt, simulation),
            wanted=Wanted(
                text=prompt if isinstance(prompt, str) else "",
                stop=read_stop(asked, "stop"),
                max_tokens=read_count(asked, "max_completion_tokens", "max_tokens"),
            ),
            stream=asked.get("stream") is True,
            usage=usage,
            continuous_usage=continuous_usage,
            logprobs=top,
            is_warmup=is_warmup(asked),
        )

    def make_writer(self, reply: Reply) -> CompletionWriter:
        """What writes an answer."""
        return CompletionWriter(reply)


def _find_prompt(asked: Mapping[str, Any]) -> str | list[int]:
    prompt = asked.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and not isinstance(prompt[0], int):
        (prompt,) = prompt
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and prompt and all(isinstance(token, int) for token in prompt):
        return prompt
    if isinstance(prompt, list) and len(prompt) > 1:
        raise RequestError(400, f"prompt has {len(prompt)} parts: the simulated engine gives one answer to a request")
    raise RequestError(400, "prompt is missing: give a string or a list of token ids")


def _split(prompt: str | list[int], simulation: Simulation) -> tuple[str, ...]:
    if isinstance(prompt, list):
        return tuple(map(str, prompt))
    return tuple(prompt if simulation.tokenizer == "letters" else prompt.split())


class CompletionWriter:
    """Writes one answer; see :class:`Writer`. It has one part at most, which is text."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._ask, self._content = reply.ask, reply.content
        # the script may have an answer with reasoning or calls, for which this API has no field
        self._texts = [part.tokens if part.kind == "text" else () for part in reply.content.parts]
        self._sent = 0

    def begin(self) -> bytes:
        return b""

    def write(self, emission: Emission) -> bytes:
        tokens = self._texts[emission.part]
        self._sent += emission.last - emission.first
        stated = logprobs.list_for_completion(self._ask, tokens, emission.first, min(emission.last, len(tokens)))
        return self._make_chunk("".join(tokens[emission.first : emission.last]), stated=stated)

    def end(self) -> bytes:
        events = self._make_chunk("", FINISH_REASONS[self._content.ending])
        if self._ask.usage:
            usage = {"choices": [], "usage": count_usage(self._reply, self._content.tokens)}
            events += make_event(self._make_head() | usage)
        return events + DONE

    def fail(self, message: str) -> bytes:
        return make_event(describe_error(500, message)) + DONE

    def make_whole(self) -> dict[str, Any]:
        tokens = [token for tokens in self._texts for token in tokens]
        choice = {
            "index": 0,
            "text": "".join(tokens),
            "finish_reason": FINISH_REASONS[self._content.ending],
            "logprobs": logprobs.list_for_completion(self._ask, tokens, 0, len(tokens)),
        }
        whole = self._make_head() | {"choices": [choice]}
        if self._ask.simulation.usage != "never":
            whole["usage"] = count_usage(self._reply, self._content.tokens)
        return whole

    def _make_chunk(self, text: str, finish: str | None = None, stated: object = None) -> bytes:
        choice = {"index": 0, "text": text, "logprobs": stated, "finish_reason": finish}
        event = self._make_head() | {"choices": [choice]}
        if self._ask.usage:
            event["usage"] = count_usage(self._reply, self._sent) if self._ask.continuous_usage else None
        return make_event(event)

    def _make_head(self) -> dict[str, Any]:
        created, model = self._reply.created, self._ask.simulation.model
        return {"id": f"cmpl-{self._reply.number}", "object": "text_completion", "created": created, "model": model}
