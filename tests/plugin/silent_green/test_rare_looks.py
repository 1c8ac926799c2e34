"""A KV cache that was looked at too rarely: what requests must have held counts, and what is not known is said."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.reports.report_file import read_report
from tests.helpers.vllm_double import VLLMDouble, Way

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Runs

# Eight requests of 63 tokens hold 32 blocks of 16 tokens and 1 KiB each.
ASKS = """
    from concurrent.futures import ThreadPoolExecutor

    @pytest.mark.memory_budget(kv_cache="20 KiB")
    def test_asks(llm_client):
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda n: llm_client.generate(f"{n}", max_tokens=24, stream=STREAM), range(8)))
"""


@pytest.fixture
def vllm() -> Iterator[VLLMDouble]:
    with VLLMDouble().running_here() as double:
        yield double


def run(runs: Runs, vllm: VLLMDouble, *, stream: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
    """The verdict on the budget, and the measurement."""
    runs.plain(ASKS.replace("STREAM", str(stream)), "--llmperf-report=report.json", *vllm.options)
    (test,) = read_report(Path("report.json"))["tests"]
    (verdict,) = test["verdicts"]
    return verdict, test["measurement"]


@pytest.mark.parametrize("poll_s", [0.0, 0.2, 0.4, 1.5])
def test_tokens_prove_what_was_held_however_rare_the_looks(runs: Runs, vllm: VLLMDouble, poll_s: float) -> None:
    vllm.way = Way(step_s=0.02, poll_s=poll_s)
    verdict, measurement = run(runs, vllm)
    assert (verdict["status"], verdict["measured"]) == ("FAIL", 32 * 1024)
    assert measurement["engine_stats"]["running_peak"] == 8


def test_what_was_neither_seen_nor_proven_is_not_measured(runs: Runs, vllm: VLLMDouble) -> None:
    vllm.way = Way(step_s=0.02, poll_s=1.5)
    verdict, _ = run(runs, vllm, stream=False)
    assert verdict["status"] == "NOT MEASURED"


def test_what_was_seen_needs_no_proof(runs: Runs, vllm: VLLMDouble) -> None:
    vllm.way = Way(step_s=0.05)
    verdict, measurement = run(runs, vllm, stream=False)
    assert (verdict["status"], verdict["measured"]) == ("FAIL", 32 * 1024)
    assert measurement["engine_stats"]["running_peak"] == 8


@pytest.mark.parametrize("options", [(), ("-n2",)], ids=["one process", "two workers"])
def test_looks_do_not_wait_for_a_test_that_keeps_pytest_busy(
    runs: Runs, pytester: pytest.Pytester, vllm: VLLMDouble, options: tuple[str, ...]
) -> None:
    runs.write(
        """
        import sys, threading, time

        @pytest.mark.memory_budget(kv_cache="1 GiB")
        def test_computes(llm_client):
            asking = threading.Thread(target=llm_client.generate, args=("x",), kwargs={"max_tokens": 24})
            asking.start()
            time.sleep(0.1)
            sys.setswitchinterval(10)  # no other thread of pytest gets to run
            try:
                end = time.monotonic() + 1
                while time.monotonic() < end:
                    pass
            finally:
                sys.setswitchinterval(0.005)
            asking.join()
        """
    )
    vllm.way = Way(step_s=0.05)
    result = pytester.runpytest_subprocess("--llmperf-report=report.json", *vllm.options, *options)
    result.assert_outcomes(passed=1)
    (test,) = read_report(Path("report.json"))["tests"]
    assert test["verdicts"][0]["status"] == "PASS"
    # 1.2 s of a request, of which 1 s was kept busy: a thread of pytest would have looked four times.
    assert test["measurement"]["readings"]["memory.kv_cache"]["samples"] > 6
