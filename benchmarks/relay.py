"""What the relay adds to an app's calls: time to first token and gaps, direct and through it, at 1 and at 32 streams.

    python benchmarks/relay.py
    python benchmarks/relay.py --rounds=10 --tokens=64

The app asks the simulated engine for streamed answers, with a connection for each stream that is kept, or with a new
one for each call. In each round it does so twice directly and once through the relay, in any order. Shown is the
difference of the percentiles, relayed less direct, the median of the rounds, and beside it how far the two direct runs
were apart: what is smaller than that is noise. Each stream waits a random moment before each call.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import psutil

from pytest_llmperf.traffic.relay.process import Relay

if TYPE_CHECKING:
    from collections.abc import Sequence

TTFT_MS, GAP_MS = 20, 10
# What differs between two answers of the simulated engine, and the sizes of chunks, which follow from it.
VARIES = re.compile(rb'"id":"cmpl-\d+"|"created":\d+|\r\n[0-9a-f]+\r\n')
WAIT_S = 0.1
START_TIMEOUT_S, ROUND_TIMEOUT_S = 30.0, 600.0


class Outcome(NamedTuple):
    """Times in ms of one way in one round, and the digests of what came."""

    ttft: list[float]
    gaps: list[float]
    digests: set[str]


class Stream(asyncio.Protocol):
    """One connection of the app: stamps what comes, and looks at it when the answer is over."""

    def __init__(self) -> None:
        self.arrivals: list[tuple[int, bytes]] = []
        self._done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.arrivals.append((time.monotonic_ns(), data))
        if data.endswith(b"0\r\n\r\n") and self._done is not None:
            self._done.set_result(None)

    async def call(self, request: bytes) -> int:
        """When it was sent."""
        self.arrivals = []
        self._done = asyncio.get_running_loop().create_future()
        sent_ns = time.monotonic_ns()
        self.transport.write(request)
        await self._done
        return sent_ns


async def stream_calls(port: int, calls: int, request: bytes, kept: bool, outcome: Outcome) -> None:
    loop, stream = asyncio.get_running_loop(), None
    for _ in range(calls):
        await asyncio.sleep(random.uniform(0, WAIT_S))
        began_ns = time.monotonic_ns()
        if stream is None:
            _, stream = await loop.create_connection(Stream, "127.0.0.1", port)
        sent_ns = await stream.call(request)
        began_ns = sent_ns if kept else began_ns
        stamps = [at_ns for at_ns, _ in stream.arrivals]
        outcome.ttft.append((stamps[0] - began_ns) / 1e6)
        outcome.gaps.extend((after - before) / 1e6 for before, after in itertools.pairwise(stamps))
        whole = b"".join(data for _, data in stream.arrivals)
        outcome.digests.add(hashlib.sha256(VARIES.sub(b"", whole)).hexdigest())
        if not kept:
            stream.transport.close()
            stream = None
    if stream is not None:
        stream.transport.close()


async def run_round(port: int, streams: int, calls: int, tokens: int, kept: bool) -> Outcome:
    outcome = Outcome([], [], set())
    body = json.dumps({"prompt": "x", "stream": True, "max_tokens": tokens, "stream_options": {"include_usage": True}})
    head = f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
    request = (head + body).encode()
    async with asyncio.timeout(ROUND_TIMEOUT_S), asyncio.TaskGroup() as group:
        for _ in range(streams):
            group.create_task(stream_calls(port, calls, request, kept, outcome))
    return outcome


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def start_engine(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    announce = folder / "announce"
    settings = [f"ttft={TTFT_MS} ms", f"tpot={GAP_MS} ms", "slots=64"]
    command = [sys.executable, "-m", "pytest_llmperf.engines.simulated.server_main", "--announce", str(announce)]
    engine = subprocess.Popen([*command, *(word for setting in settings for word in ("--set", setting))])
    deadline = time.monotonic() + START_TIMEOUT_S
    while not announce.exists():
        if engine.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("the simulated engine did not start")
        time.sleep(0.01)
    return engine, int(announce.read_text(encoding="utf-8").rpartition(":")[2])


WAYS = ("direct", "relay", "direct again")
COLUMNS = {"TTFT p50": ("ttft", 50), "TTFT p99": ("ttft", 99), "gap p50": ("gaps", 50), "gap p99": ("gaps", 99)}


class Row:
    """What the rounds with so many streams have given."""

    def __init__(self) -> None:
        self.added: dict[str, list[float]] = {name: [] for name in COLUMNS}
        self.noise: dict[str, list[float]] = {name: [] for name in COLUMNS}
        self.digests: set[str] = set()
        self.pieces = 0
        self.cpu_s = 0.0

    def take(self, outcomes: dict[str, Outcome]) -> None:
        for name, (which, percent) in COLUMNS.items():
            direct, relay, again = (percentile(getattr(outcomes[way], which), percent) for way in WAYS)
            self.added[name].append(relay - (direct + again) / 2)
            self.noise[name].append(abs(direct - again))
        self.pieces += len(outcomes["relay"].gaps) + len(outcomes["relay"].ttft)
        for outcome in outcomes.values():
            self.digests |= outcome.digests

    def show(self, streams: int, kept: bool) -> None:
        cells = [str(streams), "kept" if kept else "new"]
        medians = ((statistics.median(self.added[name]), statistics.median(self.noise[name])) for name in COLUMNS)
        cells += [f"{added:+.2f} ± {noise:.2f}" for added, noise in medians]
        cpu_us = self.cpu_s / self.pieces * 1e6
        cells += [
            f"{cpu_us:.0f}",
            f"{cpu_us / GAP_MS / 10:.1f} %",
            "the same" if len(self.digests) == 1 else "DIFFERENT",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def measure(port: int, streams: int, kept: bool, asked: argparse.Namespace) -> Row:
    relay, row = Relay(f"http://127.0.0.1:{port}/v1"), Row()
    process = psutil.Process(relay.pid)
    calls = asked.calls if streams > 1 else 2 * asked.calls
    try:
        for _ in range(asked.rounds):
            outcomes: dict[str, Outcome] = {}
            for way in random.sample(WAYS, len(WAYS)):
                relay.open()
                before = sum(process.cpu_times()[:2])
                to = relay.port if way == "relay" else port
                outcomes[way] = asyncio.run(run_round(to, streams, calls, asked.tokens, kept))
                row.cpu_s += sum(process.cpu_times()[:2]) - before
                relay.take(final=True)
            row.take(outcomes)
    finally:
        relay.stop()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--calls", type=int, default=5, help="of each stream in a round; twice as many for one")
    parser.add_argument("--tokens", type=int, default=16)
    asked = parser.parse_args()
    print(f"added by the relay, ms; {GAP_MS} ms between tokens, {asked.rounds} rounds")
    print(
        "| streams | connections | TTFT p50 | TTFT p99 | gap p50 | gap p99 | CPU µs a piece | core a stream | bytes |"
    )
    print("| --: | :-- | --: | --: | --: | --: | --: | --: | :-- |")
    with tempfile.TemporaryDirectory() as folder:
        engine, port = start_engine(Path(folder))
        try:
            for streams in (1, 32):
                for kept in (True, False):
                    measure(port, streams, kept, asked).show(streams, kept)
        finally:
            engine.terminate()
            engine.wait(10)


if __name__ == "__main__":
    main()
