"""What a loaded model answers: a word a token, at a steady pace, with the counts and times of the real server."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.ollama_double.scheduler import Refusal, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.ollama_double.scheduler import Model

_WORDS = ("The", " sky", " is", " blue", " since", " air", " scatters", " light", ",", " and", " so", " on", ".")
_REPEATS = 31
_UNLIMITED = 400
_BEFORE_A_MESSAGE = ["<|im_start|>", "user"]
_TOO_LONG = (
    '{{"error":{{"code":400,"message":"request ({0} tokens) exceeds the available context size ({1} tokens), '
    'try increasing it","type":"exceed_context_size_error","n_prompt_tokens":{0},"n_ctx":{1}}}}}'
)


@dataclass
class Answer:
    """One answer: iterate over it for its pieces of text, then see how it ended."""

    model: Model
    prompt: list[str]
    options: dict[str, Any]
    token_seconds: float
    arrived: float
    granted: float
    text: list[str] = field(default_factory=list)
    done_reason: str = ""
    error: str = ""
    cached: int = 0
    prompt_seconds: float = 0.0
    decode_seconds: float = 0.0
    output_tokens: int = 0
    counts_uncached: bool = False

    def __iter__(self) -> Iterator[str]:
        model = self.model
        with model.semaphore:
            model.running += 1
            model.count(busy=1)
            try:
                yield from self._generate(" ".join(self.prompt))
            finally:
                model.running -= 1
                model.count(busy=-1)
                model.used = time.monotonic()

    def _generate(self, prompt: str) -> Iterator[str]:
        begun = time.monotonic()
        self.cached = self.model.remember(self.prompt)
        limit = self.options.get("num_predict") or _UNLIMITED
        limit = limit if limit > 0 else _UNLIMITED
        stop = re.search(r"\[stop (\d+)\]", prompt)
        ends_at = int(stop[1]) if stop else limit
        first = begun
        for number in range(min(limit, ends_at)):
            time.sleep(self.token_seconds)
            if not number:
                first = time.monotonic()
            if self._misfortune(prompt, number):
                return
            self.output_tokens += 1
            self.text.append(" la" if self._repeats(prompt) else _WORDS[number % len(_WORDS)])
            yield self.text[-1]
        self.done_reason = "stop" if ends_at < limit else "length"
        self.output_tokens += self.done_reason == "stop"
        self.prompt_seconds = first - begun
        self.decode_seconds = max(1e-6, time.monotonic() - first)
        self.model.count(prompt=len(self.prompt) - self.cached, cached=self.cached, predicted=self.output_tokens)

    def _repeats(self, prompt: str) -> bool:
        return "[repeat]" in prompt and not self.options.get("frequency_penalty")

    def _misfortune(self, prompt: str, number: int) -> bool:
        """Whether the answer ends here, without an end."""
        if self._repeats(prompt) and number == _REPEATS:
            return True
        if number == 3 and "[kill server]" in prompt:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 3 and "[kill runner]" in prompt:
            self.model.kill()
            self.error = "an error was encountered while running the model: unexpected EOF"
        return bool(self.error)

    def last(self) -> dict[str, Any]:
        """What the last line says beside its text; a zero is left out."""
        counts = {
            "total_duration": time.monotonic() - self.arrived,
            "load_duration": self.granted,
            "prompt_eval_count": len(self.prompt) - (self.cached if self.counts_uncached else 0),
            "prompt_eval_duration": self.prompt_seconds,
            "eval_count": self.output_tokens,
            "eval_duration": self.decode_seconds,
        }
        numbers = {key: round(value * 1e9) if key.endswith("duration") else value for key, value in counts.items()}
        return {"done": True, "done_reason": self.done_reason, **{key: n for key, n in numbers.items() if n}}


def words_of(body: dict[str, Any]) -> list[str]:
    """The tokens of a prompt, raw or in the template."""
    messages: list[str] = [message.get("content") or "" for message in body.get("messages", ())]
    messages = messages or [body.get("prompt", "")]
    if body.get("raw"):
        return messages[0].split()
    return [word for text in messages for word in (*_BEFORE_A_MESSAGE, *text.split(), "<|im_end|>")]


def fitted(prompt: list[str], model: Model, *, truncate: bool) -> list[str]:
    """The prompt as it fits into the context: cut without a word, unless that was forbidden."""
    if "[busy]" in prompt:
        raise Refusal(503, "server busy, please try again.  maximum pending requests exceeded")
    if len(prompt) <= model.padded:
        return prompt
    if not truncate:
        raise Refusal(400, _TOO_LONG.format(len(prompt), model.padded))
    warn("truncating input prompt", limit=model.padded, prompt=len(prompt))
    return prompt[: 4 + model.padded // 2]


def line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"
