"""Other load clients, run as their users run them, and what they say of each request: TTFT, TPOT, gaps, in seconds."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# The command itself asks for the version of a distribution named vllm, which that for CPUs is not.
_TIMEOUT_S = 3600.0
_VLLM_BENCH_SERVE = """
from argparse import ArgumentParser
from vllm.benchmarks.serve import add_cli_args, main
parser = ArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""
PROMPT_TOKENS = 8


class Load(NamedTuple):
    """What a client shall send: in a closed loop of ``streams``, or at ``rate`` requests a second.

    ``tokenizer`` is a folder with one, for the prompts of random words that all of them make.
    """

    url: str
    model: str
    tokenizer: str
    streams: int
    requests: int
    tokens: int
    rate: int | None = None


class Row(NamedTuple):
    """One answer as a client tells of it, in seconds: TTFT, mean time between tokens, and gaps where it tells them."""

    ttft: float
    tpot: float
    gaps: list[float]


def vllm_bench(python: str, load: Load) -> list[Row]:
    """``vllm bench serve``."""
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-c", _VLLM_BENCH_SERVE, "--backend=openai", f"--base-url={load.url}", "--ignore-eos"]
        command += [f"--model={load.model}", f"--tokenizer={load.tokenizer}", "--dataset-name=random"]
        command += [f"--random-input-len={PROMPT_TOKENS}", f"--random-output-len={load.tokens}"]
        command += [f"--num-prompts={load.requests}"]
        command += (
            [f"--request-rate={load.rate}", "--burstiness=inf"] if load.rate else [f"--max-concurrency={load.streams}"]
        )
        command += ["--save-result", "--save-detailed", f"--result-dir={folder}", "--result-filename=result.json"]
        subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)
        result = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
    return [
        Row(ttft, sum(gaps) / max(1, load.tokens - 1), gaps)
        for ttft, gaps in zip(result["ttfts"], result["itls"], strict=True)
    ]


def aiperf(python: str, load: Load) -> list[Row]:
    """AIPerf, of whose records the per-request metrics are read."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(python).with_name("aiperf")), "profile", f"--model={load.model}", f"--url={load.url}"]
        command += ["--endpoint-type=completions", "--streaming", "--extra-inputs=ignore_eos:true", "--ui=none"]
        command += [f"--tokenizer={load.tokenizer}", f"--synthetic-input-tokens-mean={PROMPT_TOKENS}"]
        command += [f"--output-tokens-mean={load.tokens}", f"--request-count={load.requests}"]
        command += (
            [f"--request-rate={load.rate}", "--arrival-pattern=constant"]
            if load.rate
            else [f"--concurrency={load.streams}"]
        )
        command += [f"--artifact-dir={folder}", "--export-level=records"]
        subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)
        (path,) = Path(folder).rglob("profile_export.jsonl")
        records = [json.loads(line)["metrics"] for line in path.read_text(encoding="utf-8").splitlines()]
    return [Row(_seconds(r, "time_to_first_token"), _seconds(r, "inter_token_latency"), []) for r in records]


def _seconds(record: Mapping[str, Any], key: str) -> float:
    return float(record[key]["value"]) / 1e3


def guidellm(python: str, load: Load) -> list[Row]:
    """GuideLLM, which tells of gaps only their mean in each request."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.json"
        command = [
            str(Path(python).with_name("guidellm")),
            "run",
            "--disable-console",
            f"--output=kind=json,path={path}",
        ]
        command += [f"--backend=kind=openai_http,target={load.url},model={load.model},request_format=/v1/completions"]
        profile = f"kind=constant,rate={load.rate}" if load.rate else f"kind=concurrent,streams={load.streams}"
        command += [f"--profile={profile}", f"--constraint=kind=max_requests,count={load.requests}"]
        command += [f"--data=kind=synthetic_text,prompt_tokens={PROMPT_TOKENS},output_tokens={load.tokens}"]
        command += [f"--tokenizer=kind=huggingface_auto,model={load.tokenizer}"]
        subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)
        found = json.loads(path.read_text(encoding="utf-8"))["benchmarks"][0]["requests"]["successful"]
    return [Row(one["time_to_first_token_ms"] / 1e3, one["inter_token_latency_ms"] / 1e3, []) for one in found]


PEERS: Mapping[str, Callable[[str, Load], list[Row]]] = {"vllm": vllm_bench, "aiperf": aiperf, "guidellm": guidellm}
