from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from pytest_llmperf.measurement.window import Window
from pytest_llmperf.telemetry.sampler import process as sampler_process
from pytest_llmperf.telemetry.sampler.client import STALL_NS, Sampler, SamplerError
from pytest_llmperf.telemetry.sources.host import HAS_PROC
from tests.helpers.memory_process import MIB, MemoryProcess
from tests.helpers.waiting import halt, read_line, until
from tests.helpers.watching import level, pid_of, runs, ticks

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="reads /proc")


def test_a_sampler_that_was_killed_is_a_fault_and_its_samples_are_kept(
    sampler: Sampler, process: MemoryProcess
) -> None:
    start = time.monotonic_ns()
    ticks(sampler, 5)
    os.kill(pid_of(sampler), signal.SIGKILL)
    until(lambda: not sampler.alive)
    trace = sampler.read(Window(start, time.monotonic_ns()), [process.pid])
    assert trace.fault == "the sampler died (killed by SIGKILL)"
    assert len(trace.samples) >= 4
    assert sampler.level([process.pid]) is None
    assert sampler.settle([process.pid]) == (None, "the sampler died (killed by SIGKILL)")
    sampler.stop_watching(process.pid)
    with pytest.raises(SamplerError, match="the sampler died"):
        sampler.watch(process.pid)


def test_a_window_that_was_over_when_the_sampler_died_is_sound(sampler: Sampler, process: MemoryProcess) -> None:
    start = time.monotonic_ns()
    ticks(sampler, 3)
    window = Window(start, start + 1)
    os.kill(pid_of(sampler), signal.SIGKILL)
    until(lambda: not sampler.alive)
    assert sampler.read(window, [process.pid]).fault == ""


def test_a_sampler_that_died_can_be_started_again(sampler: Sampler, process: MemoryProcess) -> None:
    first = pid_of(sampler)
    os.kill(first, signal.SIGKILL)
    until(lambda: not sampler.alive)
    sampler.start()
    sampler.watch(process.pid)
    assert pid_of(sampler) != first
    assert level(sampler, process.pid) > MIB


def test_a_sampler_that_stands_still_is_a_fault(sampler: Sampler, process: MemoryProcess) -> None:
    start = time.monotonic_ns()
    halt(pid_of(sampler))
    try:
        ring = sampler._require_child().ring
        until(lambda: time.monotonic_ns() - ring.published_ns > STALL_NS)
        stalled = sampler.read(Window(start, time.monotonic_ns()), [process.pid])
    finally:
        os.kill(pid_of(sampler), signal.SIGCONT)
    assert stalled.fault.startswith("the sampler stalled for ")
    until(lambda: time.monotonic_ns() - ring.published_ns < STALL_NS)
    later = sampler.read(Window(start, time.monotonic_ns()), [process.pid])
    assert later.fault.startswith("the sampler missed ")


def test_a_sampler_ends_with_the_process_that_started_it(process: MemoryProcess) -> None:
    code = (
        "import sys\n"
        "from pytest_llmperf.telemetry.sampler.client import Sampler\n"
        "sampler = Sampler()\n"
        "sampler.start()\n"
        f"sampler.watch({process.pid})\n"
        "print(sampler.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        orphan = int(read_line(parent.stdout))
        assert runs(orphan)
        parent.kill()
    until(lambda: not runs(orphan))


def test_a_sampler_ends_with_its_parent_though_another_process_holds_its_input_open() -> None:
    code = (
        "import os, sys\n"
        "from pytest_llmperf.telemetry.sampler.client import Sampler\n"
        "sampler = Sampler()\n"
        "sampler.start()\n"
        "if os.fork() == 0:\n"
        "    os.close(1)\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
        "print(sampler.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        orphan = int(read_line(parent.stdout))
        parent.kill()
        until(lambda: not runs(orphan))


def test_stopping_ends_the_process_and_may_be_repeated(process: MemoryProcess) -> None:
    sampler = Sampler()
    sampler.start()
    pid = pid_of(sampler)
    sampler.stop()
    sampler.stop()
    assert not runs(pid)
    assert (sampler.alive, sampler.pid) == (False, None)
    with pytest.raises(SamplerError, match="was not started"):
        sampler.watch(process.pid)


def test_starting_twice_keeps_the_process(sampler: Sampler) -> None:
    first = sampler.pid
    sampler.start()
    assert sampler.pid == first


def test_the_rate_is_a_little_more_than_the_one_asked_for(process: MemoryProcess) -> None:
    sampler = Sampler()
    sampler.start(20)
    try:
        sampler.watch(process.pid)
        assert sampler._require_child().ring.period_ns == round(50_000_000 / 1.02)
    finally:
        sampler.stop()


@pytest.mark.parametrize("hz", [0, -1, 1e6, float("nan")])
def test_a_rate_that_cannot_be_is_refused(hz: float) -> None:
    with pytest.raises(SamplerError, match="cannot run at"):
        Sampler().start(hz)


def test_a_sampler_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler_process, "_CHILD_MODULE", "pytest_llmperf.nowhere")
    with pytest.raises(SamplerError, match=r"the sampler died \(exit status 1: .*pytest_llmperf.nowhere") as refused:
        Sampler().start()
    assert "\n" not in str(refused.value)
