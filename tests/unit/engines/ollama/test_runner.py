"""The runner of a model, by the command line that a real server gave it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pytest_llmperf.engines.ollama.runner import Loaded, Runner, find_runner, list_runners
from tests.helpers.captured import captured

BLOB = "sha256-941f309b54caaad6747569ba43712bcde44a2be3bae16c3282ff499c37c54af5"
REAL = Runner(1044, 1.0, tuple(captured("ollama/process_tree.txt").splitlines()[1].split()[5:]))
OLD = Runner(7, 1.0, ("/usr/bin/ollama", "runner", "--ollama-engine", "--model", f"/m/{BLOB}", "--port", "41851"))


def test_its_command_line_tells_its_model_its_slots_and_its_counters() -> None:
    assert REAL.blob == BLOB
    assert REAL.slots == 1
    assert REAL.cache_types == ("f16", "f16")
    assert REAL.metrics_url == "http://127.0.0.1:41851/metrics"


def test_its_command_line_tells_options_that_would_start_another_one() -> None:
    assert REAL.options == {"num_batch": 512, "use_mmap": False}
    given = ("-t", "4", "--split-mode", "none", "--main-gpu", "1", "--no-mmap")
    assert Runner(1, 1.0, ("lib/llama-server", "--model", "x", *given)).options == {
        "num_thread": 4,
        "main_gpu": 1,
        "use_mmap": False,
    }
    assert OLD.options == {}


def test_a_quantised_cache_and_several_slots_are_seen() -> None:
    more = ("--cache-type-k", "q8_0", "--cache-type-v", "q4_0", "--parallel", "4")
    runner = Runner(1, 1.0, ("lib/llama-server", "--model", "x", *more))
    assert runner.cache_types == ("q8_0", "q4_0")
    assert runner.slots == 4


def test_the_runner_of_an_older_server_tells_its_model_only() -> None:
    assert (OLD.blob, OLD.metrics_url, OLD.slots, OLD.cache_types) == (BLOB, "", None, None)


def test_a_model_is_found_by_its_file_and_the_younger_runner_counts() -> None:
    other = Runner(3, 9.0, ("llama-server", "--model", "/m/sha256-0"))
    again = Runner(4, 5.0, REAL.arguments)
    assert find_runner(BLOB, [REAL, other, again]) is again
    assert find_runner("sha256-1", [REAL, other]) is None
    assert find_runner("", [REAL]) is REAL
    assert find_runner("", [REAL, other]) is None


@pytest.fixture
def parent() -> int:
    return os.getpid()


def test_only_processes_below_the_server_that_hold_a_model_are_runners(parent: int) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (
        subprocess.Popen([*sleep, "--model", f"/m/{BLOB}", "-np", "2"]) as holds,
        subprocess.Popen([*sleep, "--list-devices"]) as lists,
    ):
        try:
            (found,) = (runner for runner in list_runners([parent]) if runner.pid in (holds.pid, lists.pid))
            assert (found.pid, found.blob, found.slots) == (holds.pid, BLOB, 2)
            assert found.alive
            assert list_runners([]) == ()
        finally:
            holds.kill()
            lists.kill()
    assert not found.alive


def test_the_sizes_of_a_loaded_model_are_what_the_server_states() -> None:
    loaded = Loaded({"size": 200, "size_vram": 50, "context_length": 4096}, None)
    assert (loaded.size, loaded.size_vram, loaded.context) == (200, 50, 4096)
    assert (Loaded({}, None).size, Loaded({"size_vram": None}, None).size_vram) == (0, 0)
