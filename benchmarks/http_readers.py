"""What reading HTTP/1.1 costs, and which odd answers are read: our reader beside h11, httptools and http.client.

    pip install h11 httptools
    python benchmarks/http_readers.py

The cost is that of a stream of a thousand events in chunks, by the piece: each event in a piece of its own, as most
servers send them, in three pieces, and ten in a piece; then that of a short answer with eight header fields, read whole
by a new reader. Memory is what a stream of ten thousand events holds once it is read. All readers take turns, and the
best of many turns counts: what others do on the host slows a turn, and never makes one faster.

Linear is how much more a byte costs in a stream that is sixteen times as long, for both ends of lines and pieces of
three bytes. The last table goes through the answers of tests/helpers/http_wires.py, each in one piece: those that our
reader refuses and another one reads, and those of which both make something different.
"""

from __future__ import annotations

import argparse
import gc
import http.client
import io
import json
import subprocess
import sys
import time
import tracemalloc
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import h11
import httptools

from pytest_llmperf.system.http.answer import TimedAnswer
from pytest_llmperf.system.http.heads import HTTPError
from tests.helpers.http_wires import ANSWERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Pieces = list[tuple[int, bytes]]
HEAD = (
    b"HTTP/1.1 200 OK\r\ndate: Mon, 30 Nov 2026 00:02:31 GMT\r\nserver: uvicorn\r\nx-request-id: 0123456789abcdef\r\n"
    b"cache-control: no-cache\r\naccess-control-allow-origin: *\r\nvary: Accept\r\ncontent-type: text/event-stream\r\n"
)
STREAM_HEAD = HEAD + b"transfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


class RefusedError(Exception):
    """A reader refused an answer."""


class Outcome(NamedTuple):
    """What a reader made of an answer whose connection has ended."""

    pieces: Pieces
    complete: bool


def read_by_ours(wire: Sequence[bytes]) -> Outcome:
    answer = TimedAnswer()
    try:
        for number, piece in enumerate(wire):
            if answer.take(piece, number):
                break
    except HTTPError as error:
        raise RefusedError(str(error)) from None
    return Outcome(answer.pieces, not answer.why_incomplete())


def read_by_h11(wire: Sequence[bytes]) -> Outcome:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    pieces: Pieces = []
    try:
        for number, piece in enumerate([*wire, b""]):
            connection.receive_data(piece)
            while (event := connection.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Data):
                    pieces.append((number, bytes(event.data)))
                elif isinstance(event, h11.EndOfMessage):
                    return Outcome(pieces, complete=True)
                elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                    return Outcome(pieces, complete=False)
    except (h11.RemoteProtocolError, ValueError) as error:
        if piece:
            raise RefusedError(str(error)) from None
    return Outcome(pieces, complete=False)


class _Sink:
    """Takes what httptools finds."""

    def __init__(self) -> None:
        self.pieces: Pieces = []
        self.number = 0
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        pass

    def on_body(self, body: bytes) -> None:
        self.pieces.append((self.number, body))

    def on_message_complete(self) -> None:
        self.complete = True


def read_by_httptools(wire: Sequence[bytes]) -> Outcome:
    sink = _Sink()
    parser: Any = httptools.HttpResponseParser(sink)
    try:
        for number, piece in enumerate(wire):
            sink.number = number
            parser.feed_data(piece)
            if sink.complete:
                break
    except httptools.HttpParserUpgrade:
        return Outcome(sink.pieces, sink.complete)
    except httptools.HttpParserError as error:
        if not sink.complete:
            raise RefusedError(str(error)) from None
    return Outcome(sink.pieces, sink.complete)


class _Socket:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object, **__: object) -> io.BytesIO:
        return io.BytesIO(self._data)


def read_by_http_client(wire: Sequence[bytes]) -> Outcome:
    """Python's own, which reads a file and knows no pieces: the whole answer at once."""
    response = http.client.HTTPResponse(_Socket(b"".join(wire)), method="POST")  # type: ignore[arg-type]
    try:
        response.begin()
        return Outcome([(0, response.read())], complete=True)
    except http.client.IncompleteRead as error:
        return Outcome([(0, error.partial)], complete=False)
    except (http.client.RemoteDisconnected, EOFError):
        return Outcome([], complete=False)
    except (http.client.HTTPException, ValueError, OverflowError) as error:
        raise RefusedError(repr(error)) from None


READERS: dict[str, Callable[[Sequence[bytes]], Outcome]] = {
    "ours": read_by_ours,
    "h11": read_by_h11,
    "httptools": read_by_httptools,
    "http.client": read_by_http_client,
}


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def write_event(number: int, line_end: bytes = b"\n") -> bytes:
    choice = {"index": 0, "text": " word" * (1 + number % 3), "logprobs": None, "finish_reason": None}
    content = {"id": "cmpl-0123456789", "object": "text_completion", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(content).encode() + 2 * line_end


def write_streams(events: int) -> dict[str, list[bytes]]:
    """The pieces of one stream, by how it is cut."""
    chunks = [chunk(write_event(number)) for number in range(events)]
    thirds = [part for one in chunks for part in (one[:4], one[4:80], one[80:])]
    tens = [b"".join(chunks[at : at + 10]) for at in range(0, events, 10)]
    return {
        "event": [STREAM_HEAD, *chunks, END],
        "third": [STREAM_HEAD, *thirds, END],
        "ten": [STREAM_HEAD, *tens, END],
    }


def time_best(cases: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """The shortest of the ``turns`` of each case, in s."""
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(turns):
        for name, run in cases.items():
            begun = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - begun)
    return best


def measure_memory(name: str) -> float:
    """The bytes that an event holds once a stream has been read."""
    wire = write_streams(10_000)["event"]
    tracemalloc.start()
    try:
        outcome = READERS[name](wire)
        held, _ = tracemalloc.get_traced_memory()
        assert outcome.complete
    finally:
        tracemalloc.stop()
    return held / 10_000


def weigh(distribution: str) -> str:
    files = metadata.files(distribution) or []
    size = sum(Path(str(file.locate())).stat().st_size for file in files if Path(str(file.locate())).exists())
    compiled = any(".so" in file.name or file.name.endswith(".pyd") for file in files)
    code = f"import time; t = time.perf_counter(); import {distribution}; print(time.perf_counter() - t)"
    took = min(float(subprocess.check_output([sys.executable, "-c", code], timeout=60)) for _ in range(5))
    kind = "compiled" if compiled else "Python"
    return (
        f"{distribution} {metadata.version(distribution)}: {size / 1e6:.2f} MB, {kind}, imported in {took * 1e3:.0f} ms"
    )


def show_costs(turns: int) -> None:
    streams = write_streams(1000)
    whole = [HEAD + b"content-length: 200\r\n\r\n" + b"x" * 200]
    print("cost in us: a piece that is an event, a third of one, ten; a short answer. Memory in bytes: an event")
    cases: dict[str, Callable[[], object]] = {}
    for name, read in READERS.items():
        cases |= {f"{name} {how}": partial(read, wire) for how, wire in {**streams, "whole": whole}.items()}
    best = time_best(cases, turns)
    for name in READERS:
        pieces = [f"{best[f'{name} {how}'] / len(wire) * 1e6:.2f}" for how, wire in streams.items()]
        pieces = ["–"] * 3 if name == "http.client" else pieces
        row = [*pieces, f"{best[f'{name} whole'] * 1e6:.1f}", f"{measure_memory(name):.0f}"]
        print(f"{name:>12} " + " ".join(f"{cell:>9}" for cell in row), flush=True)


def show_growth(turns: int) -> None:
    print("\ncost of a byte in a stream that is 16 times as long, as a share of that in the short one")
    for words, line_end in {"LF": b"\n", "CRLF": b"\r\n"}.items():
        cases: dict[str, Callable[[], object]] = {}
        for name in ("ours", "h11", "httptools"):
            for events in (50, 800):
                data = b"".join([STREAM_HEAD, *(chunk(write_event(n, line_end)) for n in range(events)), END])
                wire = [data[at : at + 3] for at in range(0, len(data), 3)]
                cases[f"{name} {events}"] = partial(READERS[name], wire)
        best = time_best(cases, max(3, turns // 3))
        ratios = {name: best[f"{name} 800"] / best[f"{name} 50"] / 16 for name in ("ours", "h11", "httptools")}
        print(f"{words:>5}: " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()), flush=True)


def describe(read: Callable[[Sequence[bytes]], Outcome], data: bytes) -> tuple[str, bytes, bool]:
    try:
        outcome = read([data] if data else [])
    except RefusedError:
        return "refused", b"", False
    return "read", b"".join(piece for _, piece in outcome.pieces), outcome.complete


def show_behaviour() -> None:
    print(f"\nof {len(ANSWERS)} odd answers, those that another reader reads otherwise than ours:")
    for name, read in READERS.items():
        if name == "ours":
            continue
        lenient, stricter, other = [], [], []
        for case, wire in ANSWERS.items():
            ours, theirs = describe(read_by_ours, wire.data), describe(read, wire.data)
            if ours[0] == "refused" and theirs[0] == "read":
                lenient.append(case)
            elif ours[0] == "read" and theirs[0] == "refused":
                stricter.append(case)
            elif ours[0] == "read" and ours != theirs:
                other.append(case)
        print(f"\n{name} reads {len(lenient)} that ours refuses: {'; '.join(lenient) or '–'}")
        print(f"{name} refuses {len(stricter)} that ours reads: {'; '.join(stricter) or '–'}")
        print(f"{name} makes something else of {len(other)}: {'; '.join(other) or '–'}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=60, help="how often each reader reads each stream")
    turns = parser.parse_args().turns
    gc.disable()  # as the load client and the relay do
    show_costs(turns)
    print("\n" + "\n".join(map(weigh, ("h11", "httptools"))))
    show_growth(turns)
    show_behaviour()


if __name__ == "__main__":
    main()
