"""Whether the time of each reader of bytes from outside grows with their number and no faster.

A reader is given texts ``start + n × part + end``, of pieces that it looks for itself, with n and 8 n parts. The
processor time of a linear reader grows by 8, that of a quadratic one by 64; the bound lies between, as machines drift.

    .venv-test/bin/python -m benchmarks.reader_growth [SECONDS] [SEED]

tries forms drawn at random for so many seconds (60) for each reader, prints the worst one, and ends with status 1 if
one grows by more than 24.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from pytest_llmperf import workload_file
from pytest_llmperf.engines.buffers import parse_buffers
from pytest_llmperf.engines.llamacpp.insight import parse_sizes, parse_slots
from pytest_llmperf.engines.ollama.faults import find_ignored
from pytest_llmperf.engines.ollama.memory import find_stated_kv_bytes
from pytest_llmperf.engines.vllm import log as vllm_log
from pytest_llmperf.measurement.units import BYTES, parse
from pytest_llmperf.system.http.answer import TimedAnswer
from pytest_llmperf.system.http.heads import HTTPError
from pytest_llmperf.system.prometheus import parse as parse_page
from pytest_llmperf.traffic.answers.answer import Arrival
from pytest_llmperf.traffic.answers.openai import read as read_openai
from pytest_llmperf.traffic.answers.sse import parse_events

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TIMES = 8
_MOST = 24.0
# What takes less is not measured: the clock and the other work of the machine would be.
_LEAST_S = 0.02
_BYTES = 1 << 20


class Reader(NamedTuple):
    """A function of a text, and the pieces of which texts are made that it looks for."""

    read: Callable[[str], object]
    pieces: Sequence[str]


class Form(NamedTuple):
    """A text of ``start``, n times ``part``, and ``end``."""

    start: str
    part: str
    end: str

    def make(self, count: int) -> str:
        return self.start + self.part * count + self.end


def read_http(text: str) -> None:
    answer = TimedAnswer()
    data = text.encode()
    with suppress(HTTPError):
        for at in range(0, len(data), 7):
            if answer.take(data[at : at + 7], at):
                return


def read_stream(text: str) -> None:
    data = text.encode()
    pieces = [(at, data[at : at + 5]) for at in range(0, len(data), 5)]
    parse_events(pieces)
    read_openai(Arrival(0, len(data), pieces, 200, "text/event-stream"))


def read_workload(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder, suppress(ValueError):
        path = Path(folder) / "f"
        path.write_text(text, encoding="utf-8")
        workload_file(path)


def read_unit(text: str) -> None:
    with suppress(ValueError):
        parse(text, BYTES)


def read_page(text: str) -> None:
    with suppress(ValueError):
        parse_page(text)


def read_llamacpp(text: str) -> None:
    parse_buffers(text), parse_sizes(text), parse_slots(text), find_ignored(text), find_stated_kv_bytes(text)


def read_vllm(text: str) -> None:
    vllm_log.find_stage(text), vllm_log.find_reason(text), vllm_log.Startup.read(text)


_COMMON = ("", "a", "0", "1", " ", "\n", "\t", ".", ":", ",", '"', "\\")
READERS = {
    "vllm's log": Reader(
        read_vllm,
        (
            *(
                "Capturing ",
                "graphs",
                "graphs:",
                "50%",
                "Loading ",
                " checkpoint shards:",
                "Fetching 9 files",
                ".json:",
            ),
            *("dtype=torch.a, ", "quantization=", "Error: ", "x.", "validation error", "  Value error, ", " [type="),
            *("Worker proc ", " died unexpectedly", "(", ")", "ERROR 1 1 [", "] ", "vllm: error: ", "device_config="),
        ),
    ),
    "llama.cpp's log": Reader(
        read_llamacpp,
        (
            *(": ", "CPU ", "model buffer size = ", "KV buffer size = ", "1.5 MiB", "load_tensors: ", "llama_kv_cache"),
            *(": size = ", "n_slots = 1", ", n_ctx_slot = 1", "option=", "level=WARN msg=", "truncating input prompt"),
        ),
    ),
    "metrics": Reader(read_page, ("up", "{", "}", 'le="1"', 'a="', "\\n", "=", "#", "1e5", "NaN", "+Inf", "_")),
    "units": Reader(read_unit, ("e", "+", "-", "GiB", "inf", "nan")),
    "HTTP": Reader(
        read_http,
        (
            *(
                "HTTP/1.1 200 OK\r\n",
                "HTTP/1.1 100 Continue\r\n\r\n",
                "Transfer-Encoding: chunked\r\n\r\n",
                "1\r\na\r\n",
            ),
            *("Content-Length: 9\r\n\r\n", "\r\n", "\r", ";", "0\r\n", "X: y\r\n"),
        ),
    ),
    "events": Reader(
        read_stream,
        (
            *("data: ", "data", "event: error\n", "\r\n", "\r", "\n\n", "error: x\n", ": ping\n", "{", "}", "x-a: b\n"),
            *('data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n', 'data: {"usage":{}}\r\n\r\n', "[DONE]"),
            'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a"}]}}]}\n\n',
        ),
    ),
    "workloads": Reader(
        read_workload,
        (
            *('{"prompt": "a", "output_tokens": 3}\n', "[", "]", "{", "}", '{"data": [', '"a": 1, ', '"a": "', "a,b\n"),
            *("prompt,output_tokens\n", '"messages": [', '{"input_length": 5, "timestamp": 1}\n'),
        ),
    ),
}


def measure(read: Callable[[str], object], text: str) -> float:
    """The processor time in seconds of one reading."""
    before = time.thread_time()
    read(text)
    return time.thread_time() - before


def find_growth(read: Callable[[str], object], form: Form) -> float:
    """By how much the time of a reading grows with eight times as many parts; 1 if it is too short to tell."""
    count = 64
    while len(form.make(count)) < _BYTES:
        short = measure(read, form.make(count))
        if short >= _LEAST_S:
            longer = measure(read, form.make(count * _TIMES))
            # Once more, as something else may have had the core.
            return longer / short if longer < _MOST * short else longer / measure(read, form.make(count))
        count *= 4
    return 1.0


def draw(random: Random, pieces: Sequence[str]) -> Form:
    """A form of some pieces."""

    def some(least: int, most: int) -> str:
        return "".join(random.choice((*pieces, *_COMMON)) for _ in range(random.randint(least, most)))

    return Form(some(0, 3), some(1, 3) or "a", some(0, 2))


def main(seconds: float = 60.0, seed: int = 0) -> int:
    """Prints the worst form of each reader; returns 1 if one is not linear."""
    random, status = Random(seed), 0
    for name, reader in READERS.items():
        worst, growth, tried, end = Form("", "", ""), 1.0, 0, time.monotonic() + seconds
        while time.monotonic() < end and growth <= _MOST:
            form = draw(random, reader.pieces)
            found, tried = find_growth(reader.read, form), tried + 1
            if found > growth:
                worst, growth = form, found
        status |= growth > _MOST
        verdict = "NOT LINEAR" if growth > _MOST else "linear"
        print(
            f"{name:16} {verdict}: {growth:.1f} times as long for 8 times as much, at worst of {tried} forms: {worst}"
        )
    return status


if __name__ == "__main__":
    raise SystemExit(main(*(kind(text) for kind, text in zip((float, int), sys.argv[1:], strict=False))))
