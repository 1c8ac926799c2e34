"""A server that says it is vLLM, with its page of metrics, whose engine and whose way to the client a test chooses."""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.helpers.captured import captured
from tests.helpers.hostile_server import HostileServer, Reply, event, text, usage, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.helpers.hostile_server import Asked

BLOCK_TOKENS = 16
BLOCKS = 1001
PROMPT_TOKENS = 40
_CONFIG = 'vllm:cache_config_info{block_size="16",num_gpu_blocks="1001",kv_cache_memory_bytes="1025024"} 1.0\n'


@dataclass
class Way:
    """How tokens get to the client.

    Attributes:
        step_s: what the engine takes for a token, and for the first one.
        merged: how many tokens come together, as an API server sends them that has fallen behind.
        is_held: whether all come at the end, as a proxy sends them that buffers.
        in_one_write: of these, whether they are written at once.
        strangers: how many requests of others the server's counters have for each of the test's.
        poll_s: how long the page of metrics takes.
    """

    step_s: float = 0.003
    merged: int = 1
    is_held: bool = False
    in_one_write: bool = True
    strangers: int = 0
    poll_s: float = 0.0


class VLLMDouble:
    """``way`` may be replaced at any time; ``blocks`` and ``running`` are those in use right now."""

    def __init__(self) -> None:
        self.way = Way()
        self.blocks = self.running = 0
        self.looks = 0
        self._sums = dict.fromkeys(_count(0, Way()), 0.0)
        self._lock = threading.Lock()
        self.server = HostileServer(self._answer)
        self.server.pages = {
            "/metrics/": self._write_page,
            "/version": lambda: whole({"version": "0.32.0"}),
            "/health": lambda: whole(b""),
        }

    @property
    def options(self) -> list[str]:
        """The options with which pytest measures this server."""
        return ["--llm-engine=vllm", f"--llmperf-url={self.server.url}"]

    @contextmanager
    def running_here(self) -> Iterator[VLLMDouble]:
        """Serves until the block ends."""
        with self.server.running():
            yield self

    def _write_page(self) -> Reply:
        time.sleep(self.way.poll_s)
        with self._lock:
            self.looks += 1
            values = {
                **self._sums,
                "vllm:kv_cache_usage_perc": self.blocks / (BLOCKS - 1),
                "vllm:num_requests_running": self.running,
                "vllm:num_requests_waiting": 0,
            }
        page = re.sub(r"^vllm:cache_config_info.*\n", _CONFIG, captured("vllm-metrics.prom"), flags=re.MULTILINE)
        for name, value in values.items():
            page, count = re.subn(rf"^({name}(?:{{.*}})?) .*$", rf"\1 {value}", page, count=1, flags=re.MULTILINE)
            assert count, name
        return Reply([page.encode()], content_type="text/plain")

    def _answer(self, asked: Asked) -> Reply:
        tokens, way = int(asked.body["max_tokens"]), self.way
        decode_s = way.step_s * (tokens - 1)
        held = -(-(PROMPT_TOKENS + tokens - 1) // BLOCK_TOKENS)
        with self._lock:
            self.blocks += held
            self.running += 1
        threading.Timer(way.step_s + decode_s, self._end, [held, tokens, way]).start()
        if not asked.body.get("stream"):
            counts = {"completion_tokens": tokens, "prompt_tokens": PROMPT_TOKENS}
            body = json.dumps(text(" w" * tokens, "length", usage=counts)).encode()
            return Reply([way.step_s + decode_s, body], content_type="application/json")
        said = _chat_piece if "chat" in asked.path else text
        words = [said(" w", usage={"completion_tokens": n + 1, "prompt_tokens": PROMPT_TOKENS}) for n in range(tokens)]
        last = [said("", "length"), usage(tokens, PROMPT_TOKENS, prompt_tokens_details={"cached_tokens": 0}), "[DONE]"]
        tail = b"".join(map(event, last))
        if way.is_held:
            parts: list[bytes | float] = [way.step_s + decode_s + 0.005]
            parts += [b"".join(map(event, words))] if way.in_one_write else list(map(event, words))
            return Reply([*parts, tail])
        parts = []
        for start in range(0, tokens, way.merged):
            together = words[start : start + way.merged]
            merged = said(" w" * len(together), usage=together[-1]["usage"])
            parts += [way.step_s * len(together), event(merged)]
        return Reply([*parts, tail])

    def _end(self, held: int, tokens: int, way: Way) -> None:
        times = 1 + way.strangers
        with self._lock:
            self.blocks -= held
            self.running -= 1
            for name, rise in _count(tokens, way).items():
                self._sums[name] += rise * times


def _count(tokens: int, way: Way) -> dict[str, float]:
    """What a request adds to vLLM's counters."""
    return {
        "vllm:generation_tokens_total": tokens,
        "vllm:prompt_tokens_total": PROMPT_TOKENS,
        "vllm:prefix_cache_hits_total": 0,
        "vllm:time_to_first_token_seconds_count": 1,
        "vllm:time_to_first_token_seconds_sum": way.step_s,
        "vllm:inter_token_latency_seconds_count": tokens - 1,
        "vllm:inter_token_latency_seconds_sum": way.step_s * (tokens - 1),
        "vllm:request_decode_time_seconds_count": 1,
        "vllm:request_decode_time_seconds_sum": way.step_s * (tokens - 1),
    }


def _chat_piece(content: str, finish: str | None = None, **more: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}], **more}
