"""Requests to a ``vllm.LLM`` in this process: added to its engine, advanced step by step, stamped by its own clock.

A step gives every running request its next token. Only a thread that waits for an answer runs steps, for all requests
at once: in a test without threads, the one that the model was loaded in.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_llmperf.traffic.answers import openai
from pytest_llmperf.traffic.client.exchange import TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.traffic.answers.answer import Answer, Arrival
    from pytest_llmperf.traffic.client.lag import Lateness
    from pytest_llmperf.traffic.client.request import Attempt, Call

REQUEST_PREFIX = "llmperf-"
_CHAT = "/chat/completions"
# Fields of a request to a server that have no meaning here, or another form.
_NOT_SAMPLING = frozenset({"model", "prompt", "messages", "stream", "stream_options", "cache_salt", "output_kind"})
_DEAD = "EngineDeadError"
_RENAMED = {"max_completion_tokens": "max_tokens"}


@dataclass(frozen=True)
class _Step:
    """What one step of the engine gave a request; ``at_ns`` is the engine's own stamp, on the monotonic clock."""

    at_ns: int
    text: str
    token_ids: tuple[int, ...]


class Generation:
    """One request to the engine, whose ``pieces`` read like an answer of the OpenAI API."""

    def __init__(self, path: str, body: Mapping[str, Any]) -> None:
        self.path = f"/v1{path} (in this process)"
        self.body = body
        self.chat = path == _CHAT
        self.request_id = ""
        self.sent_ns = self.end_ns = 0
        self.late: Lateness | None = None  # the stamps are the engine's own
        self.status: int | None = None
        self.headers = {"content-type": "text/event-stream" if body["stream"] else "application/json"}
        self.done = False
        self._steps: list[_Step] = []
        self._finish_reason: str | None = None
        self._prompt_tokens = self._cached_tokens = 0
        self._metrics: dict[str, float] = {}
        self._refusal = ""
        self._likely: dict[str, float] = {}

    def take(self, output: Any) -> None:
        """The ``RequestOutput`` of a step, which holds what is new in it."""
        completion, stats = output.outputs[0], output.metrics
        at_ns = round(stats.last_token_ts * 1e9)
        if completion.logprobs and not self._likely:
            self._likely = {one.decoded_token: one.logprob for one in completion.logprobs[0].values()}
        self._steps.append(_Step(at_ns, completion.text, tuple(completion.token_ids)))
        self.end_ns = time.monotonic_ns()
        if output.finished:
            self.done = True
            self._finish_reason = completion.finish_reason
            self._prompt_tokens = len(output.prompt_token_ids or ())
            self._cached_tokens = output.num_cached_tokens or 0
            self._metrics = {key: value for key, value in vars(stats).items() if isinstance(value, int | float)}

    def refuse(self, reason: str) -> None:
        """Ends the request as a server would that does not accept it: with status 400."""
        self.done, self.status, self._refusal = True, 400, reason
        self.end_ns = time.monotonic_ns()

    @property
    def pieces(self) -> Sequence[tuple[int, bytes]]:
        """Server-sent events, one for each step, with the tokens so far; of an answer that is no stream, the body."""
        if self._refusal:
            return [(self.end_ns, _line({"error": {"message": self._refusal}}))]
        if not self.body["stream"]:
            text = "".join(step.text for step in self._steps)
            tokens = [token for step in self._steps for token in step.token_ids]
            return [(self.end_ns, _line(self._event(text, tokens, len(tokens), last=True)))] if self.done else []
        totals = itertools.accumulate(len(step.token_ids) for step in self._steps)
        return [
            (step.at_ns, b"data: " + _line(self._event(step.text, step.token_ids, total, last=self._is_last(step))))
            for step, total in zip(self._steps, totals, strict=True)
        ] + ([(self.end_ns, b"data: [DONE]\n\n")] if self.done else [])

    def _is_last(self, step: _Step) -> bool:
        return self.done and step is self._steps[-1]

    def _event(self, text: str, token_ids: Sequence[int], total: int, *, last: bool) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "token_ids": list(token_ids)}
        if self.chat:
            choice["delta" if self.body["stream"] else "message"] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        if self._likely and not self.body["stream"]:
            choice["logprobs"] = {"top_logprobs": [self._likely]}
        choice["finish_reason"] = self._finish_reason if last else None
        usage: dict[str, Any] = {"completion_tokens": total}
        event = {"id": self.request_id, "choices": [choice], "usage": usage}
        if last:
            usage |= {"prompt_tokens": self._prompt_tokens, "total_tokens": self._prompt_tokens + total}
            usage["prompt_tokens_details"] = {"cached_tokens": self._cached_tokens}
            event["metrics"] = self._metrics
        return event


class InProcessTransport:
    """Carries requests to a ``vllm.LLM``, whose engine must keep statistics: the times of tokens are part of them."""

    def __init__(self, llm: Any) -> None:
        self._llm = llm
        self._lock = threading.RLock()
        self._running: dict[str, Generation] = {}
        self._numbers = itertools.count(1)
        self.failure = ""

    def attempt(self, path: str, body: Mapping[str, Any]) -> Generation:
        return Generation(path, body)

    def perform(self, attempt: Attempt) -> None:
        assert isinstance(attempt, Generation)
        try:
            self._begin(attempt)
            while not attempt.done:
                self._step(attempt)
        finally:
            self._remove(attempt)

    async def aperform(self, attempt: Attempt) -> None:
        """Each step holds the event loop up for as long as it takes; other coroutines run between two steps."""
        assert isinstance(attempt, Generation)
        try:
            self._begin(attempt)
            while not attempt.done:
                self._step(attempt)
                await asyncio.sleep(0)
        finally:
            self._remove(attempt)

    def perform_all(self, calls: Sequence[Call], concurrency: int) -> None:
        waiting = deque(calls)
        running: dict[str, Call] = {}
        try:
            while waiting or running:
                while waiting and len(running) < concurrency:
                    call = waiting.popleft()
                    generation = _generation(call)
                    with call.watched():
                        self._begin(generation)
                    if not generation.done and not call.fault:
                        running[generation.request_id] = call
                if running:
                    self._step(_generation(next(iter(running.values()))))
                for ended in [key for key, call in running.items() if _generation(call).done]:
                    del running[ended]
        except TransportError as error:
            _end(running, str(error))
        except BaseException:
            _end(running, "cancelled")
            raise
        finally:
            for call in running.values():
                self._remove(_generation(call))

    def read(self, arrival: Arrival) -> Answer:
        return openai.read(arrival)

    def cancel(self) -> None:
        raise ValueError("vLLM inside pytest has no connection to close: cancel the task of an achat() instead")

    def close(self) -> None:
        """Nothing is kept between requests."""

    def close_engine(self) -> None:
        """Lets go of the LLM, which is to be stopped; requests of a client that still has this fail."""
        with self._lock:
            self._llm, self.failure = None, self.failure or "vllm was stopped"

    def _begin(self, generation: Generation) -> None:
        with self._lock:
            generation.request_id = f"{REQUEST_PREFIX}{next(self._numbers)}"
            generation.sent_ns = generation.end_ns = time.monotonic_ns()
            self._fail_if_broken()
            try:
                prompt, params = self._read(generation)
                self._running[generation.request_id] = generation
                self._llm.llm_engine.add_request(generation.request_id, prompt, params)
            except Exception as error:
                self._running.pop(generation.request_id, None)
                if type(error).__name__ == _DEAD:
                    self._fail(error)
                generation.refuse(_first_line(error))
            else:
                generation.status = 200

    def _read(self, generation: Generation) -> tuple[dict[str, Any], Any]:
        body = generation.body
        prompt: dict[str, Any]
        if generation.chat:
            prompt = {"prompt_token_ids": _render(self._llm.get_tokenizer(), body["messages"])}
        elif isinstance(body["prompt"], str):
            prompt = {"prompt": body["prompt"]}
        else:
            prompt = {"prompt_token_ids": list(body["prompt"])}
        if "cache_salt" in body:
            prompt["cache_salt"] = body["cache_salt"]
        return prompt, _make_sampling(self._llm.model_config.get_diff_sampling_param(), body)

    def _step(self, waiter: Generation) -> None:
        """One step for everybody, unless what ``waiter`` waits for has come by another thread's step."""
        with self._lock:
            if waiter.done:
                return
            self._fail_if_broken()
            try:
                outputs = self._llm.llm_engine.step()
            except Exception as error:
                self._fail(error)
            for output in outputs:
                generation = self._running.get(output.request_id)
                if generation is not None:
                    generation.take(output)

    def _remove(self, generation: Generation) -> None:
        """Removes a request and aborts it if it still runs."""
        with self._lock:
            known = self._running.pop(generation.request_id, None)
            if known is not None and not generation.done and not self.failure:
                self._llm.llm_engine.abort_request([generation.request_id])

    def _fail(self, error: Exception) -> NoReturn:
        self.failure = f"vllm failed: {_first_line(error)}"
        raise TransportError(self.failure) from error

    def _fail_if_broken(self) -> None:
        if self.failure:
            raise TransportError(self.failure)


def _generation(call: Call) -> Generation:
    assert isinstance(call.attempt, Generation)
    return call.attempt


def _end(calls: Mapping[str, Call], fault: str) -> None:
    for call in calls.values():
        call.fault, call.attempt.end_ns = fault, time.monotonic_ns()


def _render(tokenizer: Any, messages: Sequence[Mapping[str, Any]]) -> list[int]:
    if not all(isinstance(message.get("content"), str) for message in messages):
        raise ValueError("messages with anything but text need vllm's server: leave out mode=offline")
    text = tokenizer.apply_chat_template([dict(m) for m in messages], tokenize=False, add_generation_prompt=True)
    # The template has written what a tokenizer would else add.
    found: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return found


def _make_sampling(defaults: Mapping[str, Any], body: Mapping[str, Any]) -> Any:
    """``SamplingParams`` as the server makes them of a body: the model's own defaults below what was asked for."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    known = set(SamplingParams.__struct_fields__)
    asked = {_RENAMED.get(key, key): value for key, value in body.items() if key not in _NOT_SAMPLING}
    unknown = sorted(key for key in asked if key not in known or key.startswith("_"))
    if unknown:
        raise ValueError(f"vllm knows no sampling parameter {', '.join(unknown)} outside its server")
    return SamplingParams(**{"max_tokens": None, **defaults, **asked, "output_kind": RequestOutputKind.DELTA})


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n\n"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
