"""What reading a large workload file costs.

    python benchmarks/workload_files.py [--lines 1000000]

Writes a trace with blocks, a trace in CSV, prompts, chats and batches, and reads each in a process of its own. Prints
for each the time of the processor that reading takes, the memory that it adds, and the memory once all its requests
have been made one after another, as a load makes them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 512
TEXT = "The keeper of the lighthouse wrote every evening what the sea had done that day. "


def write_trace(random: Random, lines: int) -> Iterator[str]:
    at = 0
    for number in range(lines):
        at += random.randrange(200)
        length = 1 + min(20_000, int(random.expovariate(1 / 8000)))
        blocks = [0, *(number * 40 + block for block in range(1, -(-length // BLOCK)))]
        entry = {"timestamp": at, "input_length": length, "output_length": random.randrange(1, 600), "hash_ids": blocks}
        yield json.dumps(entry)


def write_rows(random: Random, lines: int) -> Iterator[str]:
    yield "TIMESTAMP,ContextTokens,GeneratedTokens"
    ms = 0
    for _ in range(lines):
        ms += random.randrange(80)
        clock = f"{16 + ms // 86_400_000:02}T{ms // 3_600_000 % 24:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}"
        yield f"2023-11-{clock}.{ms % 1000:03}0000,{random.randrange(1, 5000)},{random.randrange(1, 600)}"


def write_prompts(random: Random, lines: int) -> Iterator[str]:
    for _ in range(lines):
        yield json.dumps({"prompt": TEXT * random.randrange(1, 12), "output_tokens": random.randrange(1, 600)})


def write_chats(random: Random, lines: int) -> Iterator[str]:
    for number in range(lines):
        said = [{"from": "human", "value": TEXT * random.randrange(1, 9)}, {"from": "gpt", "value": TEXT}]
        yield json.dumps({"id": str(number), "conversations": said})


def write_batches(random: Random, lines: int) -> Iterator[str]:
    for number in range(lines):
        messages = [{"role": "user", "content": TEXT * random.randrange(1, 9)}]
        body = {"model": "m", "messages": messages, "max_tokens": 100, "temperature": 0.5}
        yield json.dumps({"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions", "body": body})


FORMATS: dict[str, Callable[[Random, int], Iterator[str]]] = {
    "trace of Mooncake": write_trace,
    "CSV of Azure": write_rows,
    "prompts of vLLM": write_prompts,
    "chats of ShareGPT": write_chats,
    "batch of OpenAI": write_batches,
}


def read(path: str) -> None:
    """Reads a file and prints what that took: seconds of CPU, and MiB after reading and after making all requests."""
    from pytest_llmperf import workload_file
    from pytest_llmperf.traffic.workloads.texts import Texts

    before, begun = peak_mib(), time.process_time()
    load = workload_file(path)
    seconds, after = time.process_time() - begun, peak_mib()
    load.describe()
    # Long prompts are not what is measured here.
    texts = Texts(lambda text: len(text.split())) if load.needs_texts else None
    if texts is not None:
        texts.generate = lambda random, tokens: ""  # type: ignore[method-assign]
    for _ in load.generate_scripts(texts):
        pass
    print(json.dumps([seconds, after - before, peak_mib() - before]))


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.read:
        return read(asked.read)
    print(f"{asked.lines:,} lines\n\n| file | size | CPU time to read | memory | and with all requests made |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, write in FORMATS.items():
            path = Path(folder, "file")
            with path.open("w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in write(Random(1), asked.lines))
            command = [sys.executable, __file__, "--read", str(path)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout)
            size = path.stat().st_size / 2**20
            print(
                f"| {name} | {size:.0f} MiB | {found[0]:.1f} s | {found[1]:.0f} MiB | {found[2]:.0f} MiB |", flush=True
            )
    return None


if __name__ == "__main__":
    main()
