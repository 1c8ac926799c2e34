from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack

import pytest

from pytest_llmperf.measurement.window import Window
from pytest_llmperf.telemetry.sampler.client import Sampler, SamplerError
from pytest_llmperf.telemetry.sources.host import HAS_PROC
from tests.helpers.memory_process import MIB, MemoryProcess
from tests.helpers.waiting import PATIENCE_S, read_line, until
from tests.helpers.watching import level, ticks

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="reads /proc")


def test_the_level_is_known_as_soon_as_watch_returns(sampler: Sampler, process: MemoryProcess) -> None:
    assert MIB < level(sampler, process.pid) < 100 * MIB


def test_growth_is_seen_and_what_was_given_back_is_gone_from_the_settled_level(
    sampler: Sampler, process: MemoryProcess
) -> None:
    ticks(sampler, 2)
    start = time.monotonic_ns()
    process.grow(50)
    ticks(sampler, 2)
    process.shrink()
    trace = sampler.read(Window(start, time.monotonic_ns()), [process.pid])
    settled, reason = sampler.settle([process.pid], timeout_s=PATIENCE_S)
    assert trace.before_bytes is not None
    assert settled is not None, reason
    growth = max(value for _, value in trace.samples) - trace.before_bytes
    assert 45 * MIB < growth < 55 * MIB
    assert abs(settled - trace.before_bytes) < 5 * MIB
    assert trace.source.startswith("RSS of the engine's process, ")


def test_a_window_has_a_sample_before_it_and_one_after(sampler: Sampler, process: MemoryProcess) -> None:
    ticks(sampler, 2)
    window = Window(time.monotonic_ns(), time.monotonic_ns() + 1)
    ticks(sampler, 2)
    trace = sampler.read(window, [process.pid])
    assert trace.samples[0][0] <= window.start_ns
    assert trace.samples[-1][0] >= window.end_ns


def test_children_and_their_children_count(sampler: Sampler, process: MemoryProcess) -> None:
    before = level(sampler, process.pid)
    process.child(40)
    until(lambda: level(sampler, process.pid) > before + 38 * MIB)
    ancestors = level(sampler, process.pid)
    process.bury()
    until(lambda: level(sampler, process.pid) < before + 10 * MIB)
    assert ancestors < before + 80 * MIB


def test_a_child_that_is_there_when_a_test_begins_counts_from_its_first_sample_on(
    sampler: Sampler, process: MemoryProcess
) -> None:
    for _ in range(5):
        before = level(sampler, process.pid)
        process.child(40)
        sampler.survey()
        assert level(sampler, process.pid) > before + 38 * MIB


def test_the_child_of_a_child_counts(sampler: Sampler) -> None:
    code = (
        "import subprocess, sys\n"
        "code = \"import sys; held = bytearray(b'x') * (60 << 20); print('ready', flush=True); sys.stdin.read()\"\n"
        "sys.exit(subprocess.run([sys.executable, '-c', code]).returncode)\n"
    )
    with ExitStack() as stack:
        pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        child = stack.enter_context(subprocess.Popen([sys.executable, "-c", code], **pipe))  # type: ignore[call-overload]
        read_line(child.stdout)
        sampler.watch(child.pid)
        until(lambda: level(sampler, child.pid) > 60 * MIB)
        child.stdin.close()


def test_memory_shared_with_a_fork_counts_once(sampler: Sampler, process: MemoryProcess) -> None:
    process.grow(100)
    until(lambda: level(sampler, process.pid) > 100 * MIB)
    alone = level(sampler, process.pid)
    ring = sampler._require_child().ring
    process.fork()
    until(lambda: ring.slice(ring.head - 1, ring.head)[0].detail == 2)
    assert abs(level(sampler, process.pid) - alone) < 20 * MIB
    process.bury()
    # Other processes that come and go change how many share the pages of Python itself, of a few MiB.
    until(lambda: abs(level(sampler, process.pid) - alone) < 20 * MIB)


def test_several_roots_are_added_up(sampler: Sampler, process: MemoryProcess) -> None:
    with MemoryProcess() as other:
        other.grow(50)
        sampler.watch(other.pid)
        start = time.monotonic_ns()
        ticks(sampler, 5)
        window = Window(start, time.monotonic_ns())
        ticks(sampler, 2)
        both, one, two = (sampler.read(window, pids) for pids in ([process.pid, other.pid], [process.pid], [other.pid]))
    assert both.samples == tuple((a[0], a[1] + b[1]) for a, b in zip(one.samples, two.samples, strict=True))
    assert "(2 processes)" in both.source


def test_a_process_no_longer_watched_gives_no_more_samples(sampler: Sampler, process: MemoryProcess) -> None:
    sampler.stop_watching(process.pid)
    until(lambda: sampler.level([process.pid]) is None)
    now = time.monotonic_ns()
    trace = sampler.read(Window(now + 10**9, now + 10**9), [process.pid])
    assert (trace.samples, trace.fault) == ((), f"the sampler did not watch process {process.pid} during the test")


def test_an_engine_that_ends_during_the_test_is_a_fault(sampler: Sampler, process: MemoryProcess) -> None:
    start = time.monotonic_ns()
    ticks(sampler, 3)
    process.exit()
    until(lambda: sampler.level([process.pid]) is None)
    trace = sampler.read(Window(start, time.monotonic_ns()), [process.pid])
    assert trace.fault == f"the engine's process {process.pid} ended during the test"
    assert len(trace.samples) >= 2


def test_an_engine_that_waits_to_be_reaped_has_ended(sampler: Sampler, process: MemoryProcess) -> None:
    process.become_a_zombie()
    until(lambda: sampler.level([process.pid]) is None)


def test_a_process_that_does_not_exist_cannot_be_watched(sampler: Sampler, process: MemoryProcess) -> None:
    process.exit()
    for _ in range(2):
        with pytest.raises(SamplerError, match=f"there is no process {process.pid} to watch"):
            sampler.watch(process.pid)


def test_settling_takes_no_longer_than_its_timeout(sampler: Sampler, process: MemoryProcess) -> None:
    settled, reason = sampler.settle([process.pid], timeout_s=0.4, tolerance_bytes=-1)
    assert settled is None
    assert reason == "the memory still moved by 0 B in 0.3 s, 0.4 s after the test"
