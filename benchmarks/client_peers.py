"""Other load clients, run as their users run them, and what they say of each request: TTFT, TPOT, gaps, in seconds."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# The command itself asks for the version of a distribution named vllm, which that for CPUs is not.
_VLLM_BENCH_SERVE = """
from argparse import ArgumentParser
from vllm.benchmarks.serve import add_cli_args, main
parser = ArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""
Row = tuple[float, float, list[float]]


def vllm_bench(python: str, url: str, streams: int, requests: int, tokens: int) -> list[Row]:
    """``vllm bench serve`` with the tokenizer beside its environment."""
    tokenizer = Path(python).parents[1] / "models" / "tiny-llama"
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-c", _VLLM_BENCH_SERVE, "--backend=openai", f"--base-url={url}"]
        command += ["--model=golden", f"--tokenizer={tokenizer}", "--dataset-name=random", "--random-input-len=8"]
        command += [f"--random-output-len={tokens}", f"--num-prompts={requests}", f"--max-concurrency={streams}"]
        command += ["--save-result", "--save-detailed", f"--result-dir={folder}", "--result-filename=result.json"]
        subprocess.run(command, check=True, capture_output=True)
        result = json.loads((Path(folder) / "result.json").read_text())
    rows = []
    for ttft, gaps in zip(result["ttfts"], result["itls"], strict=True):
        rows.append((ttft, sum(gaps) / max(1, tokens - 1), gaps))
    return rows


def aiperf(python: str, url: str, streams: int, requests: int, tokens: int) -> list[Row]:
    """AIPerf, of whose records the per-request metrics are read."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(python).with_name("aiperf")), "profile", "--model=golden", f"--url={url}", "--streaming"]
        command += ["--endpoint-type=completions", "--tokenizer=builtin", f"--concurrency={streams}", "--ui=none"]
        command += [f"--request-count={requests}", "--synthetic-input-tokens-mean=8", f"--output-tokens-mean={tokens}"]
        command += [f"--artifact-dir={folder}", "--export-level=records"]
        subprocess.run(command, check=True, capture_output=True)
        (path,) = Path(folder).rglob("profile_export.jsonl")
        records = [json.loads(line)["metrics"] for line in path.read_text().splitlines()]
    return [(_ms(r, "time_to_first_token"), _ms(r, "inter_token_latency"), []) for r in records]


def _ms(record: Mapping[str, Any], key: str) -> float:
    return float(record[key]["value"]) / 1e3


PEERS: Mapping[str, Callable[[str, str, int, int, int], list[Row]]] = {"vllm": vllm_bench, "aiperf": aiperf}
