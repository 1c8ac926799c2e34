"""Thresholds and limits that the pages state are those of the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from pytest_llmperf.budgets import client_lag
from pytest_llmperf.engines import bundled_model
from pytest_llmperf.engines.attached import queue, slots
from pytest_llmperf.engines.kv_cache import looks, peak
from pytest_llmperf.engines.ollama import faults, versions
from pytest_llmperf.engines.simulated import server
from pytest_llmperf.engines.vllm import arguments
from pytest_llmperf.plugin.measuring import engine_telemetry
from pytest_llmperf.plugin.xdist import _MOST_WORKERS
from pytest_llmperf.reports.wire.requests import REQUEST_RECORDS
from pytest_llmperf.telemetry.analysis import cadence, conditions, energy, forwarding, timeline
from pytest_llmperf.telemetry.sampler import client, driver_lane, memory_lane
from pytest_llmperf.telemetry.sources import process_tree
from pytest_llmperf.traffic.load import driver, loop_lag, runner
from pytest_llmperf.traffic.relay import recorded_calls

ROOT = Path(__file__).parents[2]
NUMBERS = {2: "two", 4: "four", 10: "ten"}
MIB = 2**20

FIGURES = {
    "README.md": (
        f"reads NVML {client.DEFAULT_HZ:g} times a second",
        f"a real model ({bundled_model._MEGABYTES} MB)",
    ),
    "docs/tutorial.md": (f"the bundled model ({bundled_model._MEGABYTES} MB)",),
    "docs/limits.md": (
        f"the largest of {client.DEFAULT_HZ:g} samples a second",
        f"a test of {energy.MIN_SECONDS:g} s or more",
        f"less than {forwarding.LEAST_BYTES // MIB} MiB, or less than",
        f"less than {forwarding.LARGEST_FORWARDER_BYTES >> 30} GiB while",
        "less than half of the weights" if forwarding.RESIDENT_SHARE == 0.5 else "less than another share",
    ),
    "docs/several-devices.md": (f"fewer than {NUMBERS[cadence.MIN_COLLECTIONS]} collections",),
    "docs/reference.md": (
        f"A test shorter than {energy.MIN_SECONDS:g} s has no energy",
        f"at most {REQUEST_RECORDS} requests of a test",
        f"up to {recorded_calls.CAPACITY // MIB} MiB of answers",
        f"once {driver._FEWEST_ENDED} requests have ended",
        f"Version {versions.OLDEST[0]}.{versions.OLDEST[1]} or newer",
        f"half of the cores and at most {NUMBERS[_MOST_WORKERS]}",
        f"On a CPU the default is {arguments._CPU_KV_CACHE // 2**30} GiB",
        f"the server dies (exit status {server.CRASH_STATUS})",
        f"the server dies while it starts (exit status {server.FAILED_LOAD_STATUS})",
    ),
    "docs/measurement.md": (
        f"exceeds {client_lag.FLOOR_S * 1e3:g} ms",
        f"more than {client_lag.MOST_OF_A_CORE:.0%} of its core".replace("%", " %"),
        f"under {NUMBERS[round(1 / client_lag.TOLERATED_SHARE)]} times that lag",
        f"answers beyond {runner._KEPT_BYTES // MIB} MiB",
        "due a hundred times a second" if loop_lag._INTERVAL_NS == 10_000_000 else "due otherwise",
        f"is read {peak.POLLS_PER_SECOND:g} times a second",
        "a fifth of the requests' time" if looks.BLIND_SHARE == 0.2 else "another share",
        f"(and {looks.BLIND_NS / 1e9:g} s)",
        "a tenth of the room" if looks.DOUBTFUL_SHARE == 0.1 else "another share",
        f"longer than {faults._WARM_SECONDS} s",
        "Four times a second" if slots.LOOKS_PER_SECOND == 4 else "at another rate",
        "had half a second ago" if slots.LINGER_NS == 500_000_000 else "had another time ago",
        f"for a slot for more than {queue.WORK_NS / 1e9:g} s",
        "and a tenth of its own time" if queue.SHARE == 0.1 else "and another share",
        f"must answer them for {1 - queue.LOST_SHARE:.0%}".replace("%", " %"),
        f"the requested rate ({client.DEFAULT_HZ:g} Hz)",
        f"within {engine_telemetry._SETTLE_TOLERANCE // MIB} MiB for {client.CALM_NS / 1e9:g} s",
        f"at most {engine_telemetry._SETTLE_TIMEOUT_S:g} s)",
        f"more than {100 / memory_lane.CPU_COST_BOUND:.0f} % of a core",
        "misses more than a quarter of a second" if timeline.SMALLEST_GAP_NS == 250_000_000 else "misses more",
        f"more than {timeline.UNSEEN_SHARE:.1%} of it".replace("%", " %"),
        "within a quarter of a second" if process_tree.LISTING_PERIOD_S == 0.25 else "within another time",
        "about once a second" if process_tree.SHARING_PERIOD_S == 1.0 else "at another rate",
        f"fewer than {NUMBERS[cadence.MIN_COLLECTIONS]} collections",
        f"(at most {driver_lane.TICK_PATIENCE_S:g} s, outside of the window)",
        f"more than {energy.MAX_DISAGREEMENT:.0%}, the verdict".replace("%", " %"),
        f"a test under {energy.MIN_SECONDS:g} s has no energy",
        f"for {conditions.SLOWING_SHARE:.0%} of a test or more".replace("%", " %"),
    ),
}


@pytest.mark.parametrize(
    ("page", "figure"), [(page, figure) for page, figures in FIGURES.items() for figure in figures]
)
def test_a_page_states_the_figure_of_the_code(page: str, figure: str) -> None:
    assert figure in " ".join((ROOT / page).read_text(encoding="utf-8").split())


def test_the_pages_state_the_oldest_versions_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = project["requires-python"].removeprefix(">=")
    (pytest_,) = (text.removeprefix("pytest>=") for text in project["dependencies"] if text.startswith("pytest>="))
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    text = " ".join(page.read_text(encoding="utf-8") for page in pages)
    assert set(re.findall(r"Python (3\.\d+) (?:or|and) newer", text)) == {python}
    assert set(re.findall(r"pytest (\d+\.\d+) (?:or|and) newer", text)) == {pytest_}
