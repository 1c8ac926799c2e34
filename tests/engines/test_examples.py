"""The examples pass unchanged on a real vLLM, on llama.cpp and vLLM in one run, and on two variants of llama.cpp."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.reports.report_file import read_report
from tests.engines import vllm_here
from tests.engines.vllm_here import PYTHON, SMOLLM2
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
VLLM = (f"--llm-engine=vllm:{SMOLLM2}", f"--llmperf-engine-bin=vllm:{PYTHON}")


KEEP = "--llmperf-keep-engine=600"
ENDS = "--llmperf-keep-engine=0"


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """With a folder of its own for engines that are kept; in the end none is left."""
    (tmp_path / "kept").mkdir()
    environ = os.environ | {"TMPDIR": str(tmp_path / "kept")}
    yield environ
    subprocess.run(
        [sys.executable, "-m", "pytest_llmperf", "engines", "stop"], env=environ, check=True, timeout=PATIENCE_S
    )


def run(
    examples: tuple[str, ...], options: tuple[str, ...], environ: dict[str, str], keep: str = KEEP
) -> list[dict[str, Any]]:
    """Runs the examples; what the report says of each test.

    Where cores are few the sampler may be kept from one, which makes memory INVALID. Nothing else may: vLLM's API
    server may be kept from one as well and hold tokens back, but no limit of the examples is close enough for that.
    """
    report = Path(environ["TMPDIR"]) / "report.json"
    command = [sys.executable, "-m", "pytest", *examples, "-p", "no:cacheprovider", "--llmperf-no-strict", keep]
    command += [*options, f"--llmperf-report={report}"]
    run = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=20 * PATIENCE_S)
    assert run.returncode == 0, run.stdout
    tests: list[dict[str, Any]] = read_report(report)["tests"]
    return tests


def without_a_pass(tests: list[dict[str, Any]]) -> list[str]:
    """The reasons of all that did not pass, but for a sampler that had no core."""
    verdicts = [verdict for test in tests for verdict in test["verdicts"] if verdict["status"] != "PASS"]
    starved = [v for v in verdicts if v["status"] == "INVALID" and "the sampler missed" in v["reason"]]
    return [verdict["reason"] for verdict in verdicts if verdict not in starved]


@pytest.mark.usefixtures("vllm_installed")
def test_the_examples_pass_on_vllm_with_a_checker_on_llamacpp_and_then_on_both(environ: dict[str, str]) -> None:
    tests = run(("examples/quickstart", "examples/dev_and_prod"), VLLM, environ)
    assert without_a_pass(tests) == []
    assert [test["measurement"]["engine"]["name"] for test in tests] == ["vllm"] * 5
    parts = {part["label"]: part for test in tests for part in test["measurement"]["parts"]}
    assert {label: part["requests"]["total"] for label, part in parts.items()} == {"vllm": 1, "llamacpp": 1}
    peaks = {label: part["memory"]["peak_bytes"] for label, part in parts.items()}
    assert peaks["vllm"] > 4 * peaks["llamacpp"]

    both = run(("examples/quickstart",), ("--llm-engine=llamacpp", *VLLM), environ)
    assert sorted(test["measurement"]["engine"]["name"] for test in both) == ["llamacpp"] * 4 + ["vllm"] * 4
    # vLLM was found running: the only budget without a number is that of its start.
    assert without_a_pass(both) == ["the engine was already running, so its start was not timed"]


@pytest.mark.usefixtures("llamacpp_installed")
def test_the_rag_app_embeds_and_chats_on_one_llamacpp(environ: dict[str, str]) -> None:
    tests = run(("examples/rag_app", "-k", "pages or streams"), ("--llm-engine=llamacpp",), environ, ENDS)
    verdicts = [verdict for test in tests for verdict in test["verdicts"]]
    # How many of five pages the embeddings of a chat model find is another matter.
    assert [v["status"] for v in verdicts if v["metric"] != "quality.recall"] == ["PASS"] * 5


@pytest.mark.usefixtures("llamacpp_installed")
def test_the_page_of_llamacpp_has_what_the_example_reads(environ: dict[str, str]) -> None:
    tests = run(("examples/page_metrics",), ("--llm-engine=llamacpp",), environ, ENDS)
    assert without_a_pass(tests) == []
    assert {v["metric"] for test in tests for v in test["verdicts"]} == {"throughput.decode_rate", "latency.deferred"}


@pytest.mark.usefixtures("llamacpp_installed")
def test_the_decision_table_tells_variants_and_engines_apart(environ: dict[str, str]) -> None:
    script = [sys.executable, "examples/decision_table/quantise.py", "Q8_0"]
    made = subprocess.run(script, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_S).stdout
    engines = ["--llm-engine=q4=llamacpp", f"--llm-engine=q8=llamacpp:{made.strip()}"]
    if not vllm_here.missing():
        engines += VLLM
    # Three vLLM take a minute to start, and quality takes half a minute: other tests have them.
    table = ("examples/decision_table", "--comparison-scale=0.001", "-k", "not quality and not (three and vllm)")
    tests = run(table, tuple(engines), environ, ENDS)
    assert {verdict["status"] for test in tests for verdict in test["verdicts"]} <= {"PASS", "INVALID", "INCONCLUSIVE"}
    q4, q8 = ([test for test in tests if f"[{label}" in test["nodeid"]] for label in ("q4", "q8"))
    assert (len(q4), len(q8)) == (6, 6)
    assert 1.4 < read(q8, "memory.weights") / read(q4, "memory.weights") < 1.6
    for found in (q4, q8):
        # Three models, each of more than 70 MB, and nothing when they are unloaded.
        assert read(found, "memory.idle") > 3 * 70_000_000
        assert read(found, "memory.unloaded") == 0
    if vllm := [test for test in tests if "[vllm" in test["nodeid"]]:
        assert len(vllm) == 5
        assert read(vllm, "memory.weights") > 2 * read(q4, "memory.weights")


def read(tests: list[dict[str, Any]], metric: str) -> float:
    """The largest value of a metric in these tests."""
    readings = [test["measurement"]["readings"].get(metric) for test in tests]
    return max(float(reading["value"]) for reading in readings if reading is not None)
