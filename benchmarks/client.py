"""How far what the load client says lies from what a server really did, and what it costs; peers beside it, if asked.

    pip install -e '.[load]'
    python benchmarks/client.py [--quick]
    python benchmarks/client.py --tokenizer=FOLDER --peer=vllm=PYTHON --peer=aiperf=PYTHON --peer=guidellm=PYTHON
    python benchmarks/client.py --tokenizer=FOLDER --peer=vllm=PYTHON --server=PYTHON  # against a real vLLM as well

Server and client are pinned to a core each. The server (golden_server.py) notes when it really wrote each token: so the
errors of a client are known, of the time to first token (as reported, less arrival at the server → first write), of the
mean time between tokens, and by how much the p99 of the gaps is inflated. Each number of streams runs in a closed
loop of 64 tokens 10 ms apart, 40 ms at 1,000. Load kept is the throughput as a share of what the server would give a
client that lost no time between its requests. CPU is that of the client, start and reading of the answers included;
tokens per CPU-second leave out what a run of a single request takes. Open loops are of 100 and 300 requests a second,
constant, of 16 tokens; lateness is at the server: arrival − the scheduled moment, of peers as if their best had been
on time. Other programs on the same cores show in every figure.

``--server`` is the Python of an environment with vLLM, which then serves the model in the tokenizer's folder. Nobody
knows when it really wrote a token, so it shows how the mean TTFT that a client reports differs from the server's own,
which begins later and ends earlier, and the tokens per second of the server while all streams ran.
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
from functools import partial
from heapq import heapreplace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from client_peers import PEERS, Load, Row

from pytest_llmperf.engines.api.spec import EngineSpec
from pytest_llmperf.engines.vllm import VLLMEngine
from pytest_llmperf.engines.vllm.insight import read_metrics
from pytest_llmperf.traffic.load.process import LoadOutcome, run_load
from pytest_llmperf.traffic.load.wire import Order, Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TOKENS, TTFT_MS = 64, 50.0
STREAMS = {1: 10.0, 32: 10.0, 256: 10.0, 1000: 40.0}
RATES = (100, 300)
START_TIMEOUT_S = 30.0


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return float(ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)])


@dataclass
class Case:
    """One run of a client: what it saw, what the server did, and the CPU it took."""

    seen: list[Row]
    log: list[dict[str, Any]]
    cpu_s: float
    tokens: int
    streams: int
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
            f"{ttft_text:>15} {percentile(tpot, 99) * 1e6:>9.0f} {inflated:>9} {self._compute_kept():>9.1%} "
            f"{cost:>9} {self.cpu_s:>7.2f}"
        )

    def _errors(self, seen: Sequence[float], truth: Sequence[float]) -> list[float]:
        """Request by request; in order of size on both sides where a peer does not say which request is which."""
        pairs = zip(seen, truth, strict=True) if self.paired else zip(sorted(seen), sorted(truth), strict=False)
        return [abs(s - t) for s, t in pairs]

    def _compute_kept(self) -> float:
        """Whoever loses no time sends the next request as soon as one has ended."""
        ordered = sorted(self.log, key=lambda record: int(record["arrived_ns"]))
        free = [0] * self.streams
        for record in ordered:
            heapreplace(free, free[0] + record["written_ns"][-1] - record["arrived_ns"])
        taken_ns = max(r["written_ns"][-1] for r in ordered) - ordered[0]["arrived_ns"]
        return max(free) / int(taken_ns)


class GoldenServer:
    def __init__(self, url: str) -> None:
        self.url = url

    def log(self) -> list[dict[str, Any]]:
        """What has ended since the last look."""
        with urllib.request.urlopen(f"{self.url}/log", timeout=60) as response:
            found: list[dict[str, Any]] = json.load(response)
        return found


@contextmanager
def golden(core: int | None, gap_ms: float) -> Iterator[GoldenServer]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__).with_name("golden_server.py")), folder]
        environment = {**os.environ, "GOLDEN_GAP_MS": str(gap_ms), "GOLDEN_TTFT_MS": str(TTFT_MS)}
        server = subprocess.Popen([*command, *([str(core)] if core is not None else [])], env=environment)
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while not (Path(folder) / "address").exists():
                if server.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("the golden server did not start")
                time.sleep(0.01)
            yield GoldenServer((Path(folder) / "address").read_text(encoding="utf-8"))
        finally:
            server.terminate()
            server.wait(10)


def read_children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_ours(
    url: str, streams: int, requests: int, loop: str, gap_ns: int | None = None, model: str = "golden"
) -> LoadOutcome:
    """With ``gap_ns`` an open loop at that distance, of a quarter of the tokens."""
    tokens = TOKENS if gap_ns is None else TOKENS // 4

    def orders() -> Iterator[Order]:
        for number in range(requests):
            body = {"model": model, "prompt": "x y z x y z", "max_tokens": tokens, "stream": True, "user": str(number)}
            body |= {"stream_options": {"include_usage": True}, "ignore_eos": True}
            yield Order(number, json.dumps(body).encode(), None if gap_ns is None else number * gap_ns)

    plan = Plan(
        url=f"{url}/v1",
        api_key="",
        timeout=120.0,
        keep=True,
        path="/completions",
        streamed=True,
        kept_bytes=2**29,
        connections=streams,
        reserve=0 if gap_ns is None else 32,
        user_starts_ns=[0] * streams if gap_ns is None else None,
        duration_ns=None,
        max_error_rate=None,
    )
    return run_load(plan, orders(), event_loop=loop)


def ours(server: GoldenServer, streams: int, requests: int, loop: str) -> Case:
    before = read_children_cpu()
    outcome = run_ours(server.url, streams, requests, loop)
    cpu_s = read_children_cpu() - before
    failed = [timing.error for timing in outcome.timings.values() if timing.error]
    assert not failed, failed[:3]
    ordered = [outcome.timings[number] for number in range(requests)]
    seen = [Row(t.ttft or 0.0, t.tpot or 0.0, t.chunk_gaps) for t in ordered]
    log = sorted(server.log(), key=lambda record: int(record["user"]))
    return Case(seen, log, cpu_s, requests * TOKENS, streams, paired=True)


def measure_lateness(server: GoldenServer, rate: int, seconds: float, loop: str) -> str:
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
        fixed = ours(server, 1, 1, loop).cpu_s
    for count, gap_ms in streams.items():
        with golden(core, gap_ms) as server:
            case = ours(server, count, count_requests(count, quick=quick), loop)
        print(f"{loop:>14} {count:>7} {case.row(fixed)}", flush=True)
    print(f"{loop:>14} a run of one request: {fixed:.2f} s of CPU")
    for rate in RATES:
        with golden(core, 10.0) as server:
            late = measure_lateness(server, rate, 2 if quick else 8, loop)
        print(f"{loop:>14} {rate}/s late by ms p50/p99/max {late}", flush=True)


def measure_peer(text: str, tokenizer: str, streams: dict[int, float], core: int | None, *, quick: bool) -> None:
    name, _, python = text.partition("=")
    with golden(core, 10.0) as server:
        fixed = time_client(name, python, Load(server.url, "golden", tokenizer, 1, 1, TOKENS))[1]
    for count, gap_ms in streams.items():
        requests = count_requests(count, quick=quick)
        with golden(core, gap_ms) as server:
            found, cpu_s = time_client(name, python, Load(server.url, "golden", tokenizer, count, requests, TOKENS))
            # Some send a request to see whether the server answers; it is not one of those they report.
            case = Case(found, server.log()[-requests:], cpu_s, requests * TOKENS, count)
        print(f"{name:>14} {count:>7} {case.row(fixed)}", flush=True)
    print(f"{name:>14} a run of one request: {fixed:.2f} s of CPU", flush=True)
    for rate in RATES:
        requests = rate * (2 if quick else 8)
        with golden(core, 10.0) as server:
            time_client(name, python, Load(server.url, "golden", tokenizer, 1, requests, TOKENS // 4, rate))
            arrivals = sorted(record["arrived_ns"] for record in server.log())[-requests:]
        late = [(at - arrivals[0]) / 1e6 - number * 1e3 / rate for number, at in enumerate(arrivals)]
        late = [one - min(late) for one in late]
        text = f"{percentile(late, 50):.2f}/{percentile(late, 99):.2f}/{max(late):.2f}"
        print(f"{name:>14} {rate}/s late by ms p50/p99/max {text}", flush=True)


def time_client(name: str, python: str, load: Load) -> tuple[list[Row], float]:
    """What a client says of each request, and the CPU it took, in s."""
    before = read_children_cpu()
    found = PEERS[name](python, load)
    return found, read_children_cpu() - before


def compare_on_vllm(python: str, folder: str, peers: Sequence[str], core: int | None) -> None:
    """Each client in turn on one vLLM, three times over, at 32 streams."""
    args = {"kv_cache": "256MiB", "max_model_len": "2048", "enforce_eager": "true", "enable_prefix_caching": "false"}
    engine = VLLMEngine(EngineSpec("vllm", model=folder, binary=python, args=args))
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core} if core is not None else mine)
    try:
        engine.start(lambda _: None)
    finally:
        os.sched_setaffinity(0, mine)
    load = Load(engine.base_url.removesuffix("/v1"), engine.model, folder, 32, 256, TOKENS)
    clients: dict[str, Callable[[], tuple[list[Row], float]]] = {"auto": lambda: run_ours_on_vllm(load)}
    for name, _, binary in (text.partition("=") for text in peers):
        clients[name] = partial(time_client, name, binary, load)
    print(f"a real vLLM {engine.version}, 32 streams, 256 requests; TTFT as said by client − by server, means, ms")
    try:
        for _ in range(3):
            for name, run in clients.items():
                before = read_server_counts(load.url)
                rows, cpu_s = run()
                tokens, first_s, firsts, span_s = (
                    b - a for a, b in zip(before, read_server_counts(load.url), strict=True)
                )
                excess_ms = (sum(row.ttft for row in rows) / len(rows) - first_s / firsts) * 1e3
                rate = tokens / (span_s / load.streams)
                print(f"{name:>14} TTFT {excess_ms:+.2f} ms, {rate:.0f} tok/s, {cpu_s:.2f} s of CPU", flush=True)
    finally:
        engine.stop()


def read_server_counts(url: str) -> tuple[float, ...]:
    """Of a vLLM up to now: tokens generated, sum and number of its TTFTs, and the sum of its end-to-end times, in s."""
    samples = read_metrics(f"{url}/v1")
    names = ("generation_tokens_total", *(f"time_to_first_token_seconds_{what}" for what in ("sum", "count")))
    names += ("e2e_request_latency_seconds_sum",)
    return tuple(sum(s.value for s in samples if s.name == f"vllm:{name}") for name in names)


def run_ours_on_vllm(load: Load) -> tuple[list[Row], float]:
    before = read_children_cpu()
    outcome = run_ours(load.url, load.streams, load.requests, "auto", model=load.model)
    timings_of = outcome.timings.values()
    assert not [t.error for t in timings_of if t.error]
    return [Row(t.ttft or 0.0, t.tpot or 0.0, []) for t in timings_of], read_children_cpu() - before


def count_requests(streams: int, *, quick: bool) -> int:
    return max(8, streams * (2 if quick else 4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer streams and shorter runs")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help=f"one of {', '.join(PEERS)}")
    parser.add_argument("--tokenizer", default="", help="a folder with one for the peers' prompts")
    parser.add_argument("--server", metavar="PYTHON", help="of an environment with vLLM, to send to that as well")
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
        measure_peer(text, arguments.tokenizer, streams, core, quick=arguments.quick)
    if arguments.server:
        compare_on_vllm(arguments.server, arguments.tokenizer, arguments.peer, core)


if __name__ == "__main__":
    main()
