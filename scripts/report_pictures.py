"""Takes the pictures of docs/report.md: ``scripts/report-pictures``."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from base64 import b64decode
from pathlib import Path
from textwrap import dedent

from tests.helpers.chromium import Chromium, find_chromium, start_chromium

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
MOST_BYTES = 150_000
WIDTH = 1100
SUITE = """
import os
import pytest
from pytest_llmperf import workload

TTFT = os.environ["DEMO_TTFT"]
CHAT = workload(prompt_tokens="32-128", output_tokens="24-48", requests=160)

@pytest.mark.memory_budget(peak="190 MiB")
@pytest.mark.latency_budget(ttft_p95="500 ms", tpot_p50="40 ms")
@pytest.mark.throughput_budget(output="100 tok/s")
def test_four_users_at_once(llm_client):
    llm_client.run(CHAT, concurrency=4)

@pytest.mark.latency_budget(ttft_p50="400 ms", e2e_p99="2 s")
@pytest.mark.parametrize("words", ["short", "long"])
def test_answer(llm_client, llm_perf, words):
    for _ in range(16):
        llm_client.generate(f"a {words} question", max_tokens=4, simulate={"ttft": TTFT})
    llm_perf.record("accuracy", 0.93, "1")
"""
ENGINES = (
    "--llm-engine=q8=simulated",
    "--llm-engine=q4=simulated",
    *("--llmperf-engine-arg=memory=60 MiB", "--llmperf-engine-arg=jitter=1 ms"),
    *("--llmperf-engine-arg=request_sd=15 %", "--llmperf-engine-arg=memory_per_request=30 MiB"),
    *("--llmperf-engine-arg=q4:tpot=3 ms", "--llmperf-engine-arg=q4:memory=30 MiB"),
)
RUNS = ("20 ms",) * 6 + ("26 ms",) * 5
"""The TTFT of each run; the store then shows where it changed."""

VIEWS = {
    "decided": "['header', '#decided']",
    "side-by-side": "['#matrix']",
    "tests": "['#h-tests', '#controls', '#list']",
    "test": "['details.test[open]']",
    "trends": "['#h-trends', '#trends figure']",
}
"""The elements that a picture is of, by its name."""


def run_suite(folder: Path) -> Path:
    """Runs the suite several times and returns the page of the last run."""
    folder.joinpath("test_chat.py").write_text(dedent(SUITE), encoding="utf-8")
    folder.joinpath("pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    for number, ttft in enumerate(RUNS, start=1):
        last = number == len(RUNS)
        chosen = ["--llmperf-report=out.html"] if last else ["-k", "answer"]
        words = [
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:randomly",
            *ENGINES,
            "--llmperf-save",
            "--llmperf-save-anyway",
            *chosen,
        ]
        environ = {**os.environ, "DEMO_TTFT": ttft, "LLMPERF_TEST_CPU_NAME": "AMD EPYC 7B13"}
        done = subprocess.run([sys.executable, *words], cwd=folder, env=environ, timeout=300, check=False)
        if done.returncode not in (0, 1):
            raise SystemExit(done.returncode)
    return folder / "out.html"


def take_pictures(browser: Chromium, page: Path) -> None:
    """Writes a picture of each view, in light."""
    browser.emulate()
    browser.resize(WIDTH, 900)
    browser.open(page)
    browser.resize(WIDTH, int(browser.run("document.documentElement.scrollHeight")))
    FOLDER.mkdir(exist_ok=True)
    for name, selectors in VIEWS.items():
        top, bottom = browser.run(
            f"(boxes => [Math.min(...boxes.map(box => box.top)), Math.max(...boxes.map(box => box.bottom))])"
            f"({selectors}.map(one => document.querySelector(one).getBoundingClientRect()))"
        )
        area = {"x": 0, "y": max(0, top - 12), "width": WIDTH, "height": bottom - top + 24, "scale": 1}
        data = browser.call("Page.captureScreenshot", format="webp", quality=82, clip=area)["data"]
        picture = b64decode(data)
        if len(picture) > MOST_BYTES:
            raise SystemExit(f"{name}: {len(picture)} bytes are more than {MOST_BYTES}")
        FOLDER.joinpath(f"report-{name}.webp").write_bytes(picture)
        print(f"docs/pictures/report-{name}.webp: {len(picture) / 1000:.0f} kB")


def main() -> None:
    program = find_chromium()
    if program is None:
        raise SystemExit("no Chromium was found")
    with tempfile.TemporaryDirectory() as folder, start_chromium(program) as browser:
        take_pictures(browser, run_suite(Path(folder)))


if __name__ == "__main__":
    main()
