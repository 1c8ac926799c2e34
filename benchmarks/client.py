"""How far what the load client says lies from what a server really did, and what it costs; peers beside it, if asked.

    pip install -e '.[load]'
    python benchmarks/client.py [--quick] [--peer vllm=/path/to/python] [--peer aiperf=/path/to/python]

Server and client are pinned to a core each. The server (golden_server.py) notes when it really wrote each token: so the
errors of a client are known, of the time to first token (as reported, less arrival at the server → first write), of the
mean time between tokens, and by how much the p99 of the gaps is inflated. Each number of streams runs in a closed
loop of 64 tokens 10 ms apart, 40 ms at 1,000. Load kept is the throughput as a share of what the server would give a
client that lost no time. CPU is that of the client, start and reading of the answers included; tokens per CPU-second
leave out what a run of a single request takes. Open loops are of 100 and 300 requests a second, constant, of 16 tokens;
lateness is at the server: arrival − the scheduled moment. Other programs on the same cores show in every figure.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client_peers import PEERS

from pytest_llmperf import timings
from pytest_llmperf.traffic.load_process import LoadOutcome, run_load
from pytest_llmperf.traffic.load_wire import Order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOKENS, TTFT_MS = 64, 50.0
STREAMS = {1: 10.0, 32: 10.0, 256: 10.0, 1000: 40.0}
RATES = (100, 300)


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return float(ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)])


@dataclass
class Seen:
    """One answer as a client saw it, in seconds: TTFT, mean time between tokens, and gaps where it tells them."""

    ttft: float
    tpot: float
    gaps: list[float]


@dataclass
class Case:
    """One run of a client: what it saw, what the server did, and the CPU it took."""

    seen: list[Seen]
    log: list[dict[str, Any]]
    cpu_s: float
    tokens: int
    streams: int
    gap_ms: float
    paired: bool = False

    def row(self, fixed_cpu_s: float) -> str:
        truth = [(r["written_ns"][0] - r["arrived_ns"]) / 1e9 for r in self.log]
        spans = [(r["written_ns"][-1] - r["written_ns"][0]) / 1e9 / (len(r["written_ns"]) - 1) for r in self.log]
        ttft = self._errors([one.ttft for one in self.seen], truth)
        tpot = self._errors([one.tpot for one in self.seen], spans)
        gaps = [gap for one in self.seen for gap in one.gaps]
        real = [(b - a) / 1e9 for r in self.log for a, b in pairwise(r["written_ns"])]
        inflated = f"{percentile(gaps, 99) / percentile(real, 99) - 1:+.0%}" if gaps and real else "–"
        ttft_text = "/".join(f"{percentile(ttft, p) * 1e3:.2f}" for p in (50, 99))
        marginal_s = self.cpu_s - fixed_cpu_s
        cost = f"{self.tokens / marginal_s / 1e3:.1f}" if marginal_s > 0.05 else "–"
        return (
            f"{ttft_text:>15} {percentile(tpot, 99) * 1e6:>9.0f} {inflated:>9} {self._kept():>9.1%} "
            f"{cost:>9} {self.cpu_s:>7.2f}"
        )

    def _errors(self, seen: Sequence[float], truth: Sequence[float]) -> list[float]:
        """Request by request; in order of size on both sides where a peer does not say which request is which."""
        pairs = zip(seen, truth, strict=True) if self.paired else zip(sorted(seen), sorted(truth), strict=False)
        return [abs(s - t) for s, t in pairs]

    def _kept(self) -> float:
        begun, ended = min(r["arrived_ns"] for r in self.log), max(r["written_ns"][-1] for r in self.log)
        rounds = len(self.log) / self.streams
        ideal_s = rounds * (TTFT_MS + (TOKENS - 1) * self.gap_ms) / 1e3
        return float(ideal_s / ((ended - begun) / 1e9))


class GoldenServer:
    def __init__(self, url: str) -> None:
        self.url = url

    def log(self) -> list[dict[str, Any]]:
        """What has ended since the last look."""
        with urllib.request.urlopen(f"{self.url}/log") as response:
            found: list[dict[str, Any]] = json.load(response)
        return found


@contextmanager
def golden(core: int | None, gap_ms: float) -> Iterator[GoldenServer]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__).with_name("golden_server.py")), folder]
        environment = {**os.environ, "GOLDEN_GAP_MS": str(gap_ms), "GOLDEN_TTFT_MS": str(TTFT_MS)}
        server = subprocess.Popen([*command, *([str(core)] if core is not None else [])], env=environment)
        try:
            while not (Path(folder) / "address").exists():
                time.sleep(0.01)
            yield GoldenServer((Path(folder) / "address").read_text())
        finally:
            server.terminate()
            server.wait()


def children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_ours(url: str, streams: int, requests: int, loop: str, gap_ns: int | None = None) -> LoadOutcome:
    """With ``gap_ns`` an open loop at that distance, of a quarter of the tokens."""
    tokens = TOKENS if gap_ns is None else TOKENS // 4

    def orders() -> Iterator[Order]:
        for number in range(requests):
            body = {"model": "golden", "prompt": "x", "max_tokens": tokens, "stream": True, "user": str(number)}
            body["stream_options"] = {"include_usage": True}
            yield Order(number, json.dumps(body).encode(), None if gap_ns is None else number * gap_ns)

    plan = {
        "url": f"{url}/v1",
        "api_key": "",
        "timeout": 120.0,
        "keep": True,
        "path": "/completions",
        "streamed": True,
        "kept_bytes": 2**29,
        "connections": streams,
        "reserve": 0 if gap_ns is None else 32,
        "begins": [0] * streams if gap_ns is None else None,
        "duration_ns": None,
        "max_error_rate": None,
    }
    return run_load(plan, orders(), event_loop=loop)


def ours(server: GoldenServer, streams: int, requests: int, gap_ms: float, loop: str) -> Case:
    before = children_cpu()
    outcome = run_ours(server.url, streams, requests, loop)
    cpu_s = children_cpu() - before
    failed = [timing.error for timing in outcome.timings.values() if timing.error]
    assert not failed, failed[:3]
    ordered = [outcome.timings[number] for number in range(requests)]
    seen = [Seen(timings.ttft(t) or 0.0, timings.tpot(t) or 0.0, timings.chunk_gaps(t)) for t in ordered]
    log = sorted(server.log(), key=lambda record: int(record["user"]))
    return Case(seen, log, cpu_s, requests * TOKENS, streams, gap_ms, paired=True)


def open_loop(server: GoldenServer, rate: int, seconds: float, loop: str) -> str:
    gap_ns = 1_000_000_000 // rate
    outcome = run_ours(server.url, 32, round(rate * seconds), loop, gap_ns)
    late = [(r["arrived_ns"] - outcome.begun_ns - int(r["user"]) * gap_ns) / 1e6 for r in server.log()]
    assert outcome.health is not None
    own = outcome.health.schedule_lag
    assert own is not None
    told = f"it says {own.p50 * 1e3:.2f}/{own.p99 * 1e3:.2f}/{own.most * 1e3:.2f}"
    return f"{percentile(late, 50):.2f}/{percentile(late, 99):.2f}/{max(late):.2f} ({told})"


def measure_ours(loop: str, streams: dict[int, float], core: int | None, *, quick: bool) -> None:
    with golden(core, 10.0) as server:
        fixed = ours(server, 1, 1, 10.0, loop).cpu_s
    for count, gap_ms in streams.items():
        with golden(core, gap_ms) as server:
            case = ours(server, count, requests_of(count, quick=quick), gap_ms, loop)
        print(f"{loop:>14} {count:>7} {case.row(fixed)}", flush=True)
    print(f"{loop:>14} a run of one request: {fixed:.2f} s of CPU")
    for rate in RATES:
        with golden(core, 10.0) as server:
            late = open_loop(server, rate, 2 if quick else 8, loop)
        print(f"{loop:>14} {rate}/s late by ms p50/p99/max {late}", flush=True)


def measure_peer(text: str, streams: dict[int, float], core: int | None, *, quick: bool) -> None:
    name, _, python = text.partition("=")
    fixed = 0.0
    for count, gap_ms in {0: 10.0, **streams}.items():
        requests = requests_of(count, quick=quick) if count else 1
        with golden(core, gap_ms) as server:
            before = children_cpu()
            found = PEERS[name](python, server.url, count or 1, requests, TOKENS)
            cpu_s = children_cpu() - before
            # Some send a request to see whether the server answers; it is not one of those they report.
            log = server.log()[-requests:]
        if not count:
            fixed = cpu_s
            print(f"{name:>14} a run of one request: {fixed:.2f} s of CPU", flush=True)
            continue
        case = Case([Seen(*one) for one in found], log, cpu_s, requests * TOKENS, count, gap_ms)
        print(f"{name:>14} {count:>7} {case.row(fixed)}", flush=True)


def requests_of(streams: int, *, quick: bool) -> int:
    return max(8, streams * (2 if quick else 4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer streams and shorter runs")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help=f"one of {', '.join(PEERS)}")
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    core = cores[-1] if len(cores) > 1 else None
    os.sched_setaffinity(0, set(cores[:1]))
    streams = {n: gap for n, gap in STREAMS.items() if not arguments.quick or n <= 32}
    header = f"{'TTFT p50/p99':>15} {'TPOT p99':>9} {'gap p99':>9} {'load':>9} {'ktok/CPU':>9} {'CPU':>7}"
    units = f"{'client':>14} {'streams':>7} {'ms':>15} {'us':>9} {'inflated':>9} {'kept':>9} {'-s':>9} {'s':>7}"
    print(f"{'':>22} {header}\n{units}")
    for loop in ("asyncio", "auto"):
        measure_ours(loop, streams, core, quick=arguments.quick)
    for text in arguments.peer:
        measure_peer(text, streams, core, quick=arguments.quick)


if __name__ == "__main__":
    main()
