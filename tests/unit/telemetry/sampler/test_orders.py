"""Orders to the sampler process, from the one that started it and from those that join it."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.measurement.window import Window
from pytest_llmperf.telemetry.sampler.client import STALL_NS, Sampler, SamplerError
from pytest_llmperf.telemetry.sampler.process import ABSTRACT_SOCKETS
from pytest_llmperf.telemetry.sources.host import HAS_PROC
from tests.helpers.dcgm_exporter import Exporter, Gpu, full_fields
from tests.helpers.memory_process import MIB, MemoryProcess
from tests.helpers.metrics_server import MetricsServer, serving
from tests.helpers.waiting import PATIENCE_S, halt, until
from tests.helpers.watching import level, pid_of, ticks

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not (HAS_PROC and ABSTRACT_SOCKETS), reason="reads /proc, joins by abstract sockets")

CALL = "nvmlDeviceGetComputeRunningProcesses_v3"


@pytest.fixture
def shared() -> Iterator[Sampler]:
    sampler = Sampler()
    sampler.start(shared=True)
    yield sampler
    sampler.stop()


@pytest.fixture
def joined(shared: Sampler) -> Iterator[Sampler]:
    sampler = Sampler()
    assert sampler.join(shared.address)
    yield sampler
    sampler.stop()


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with serving(Exporter(Gpu(0, full_fields())).page) as server:
        yield server


# -------------------------------------------------------------------------------------------------------------- joining


def test_one_that_joined_sees_what_the_other_watches_and_watches_on_its_own(
    shared: Sampler, joined: Sampler, process: MemoryProcess
) -> None:
    assert (joined.alive, joined.pid, joined.address) == (True, None, shared.address)
    joined.watch(process.pid)
    assert level(joined, process.pid) == level(shared, process.pid) > MIB


def test_what_one_that_left_had_watched_is_forgotten_and_what_others_watch_is_not(
    shared: Sampler, joined: Sampler, process: MemoryProcess
) -> None:
    with MemoryProcess() as other:
        shared.watch(process.pid)
        joined.watch(process.pid)
        joined.watch(other.pid)
        joined.stop()
        until(lambda: shared.level([other.pid]) is None)
    ticks(shared, 2)
    assert level(shared, process.pid) > MIB


def test_the_sampler_outlives_those_that_joined_and_ends_with_the_one_that_started_it(
    shared: Sampler, joined: Sampler
) -> None:
    joined.stop()
    assert shared.alive
    assert joined.join(shared.address)
    shared.stop()
    until(lambda: not joined.alive)
    assert joined.why_ended() == "the sampler of this run ended"
    with pytest.raises(SamplerError, match="the sampler of this run ended"):
        joined.ask("faults")


def test_a_sampler_that_is_not_shared_cannot_be_joined(sampler: Sampler) -> None:
    assert sampler.address == ""
    assert not Sampler().join(sampler.address)


def test_nobody_is_joined_where_nobody_listens() -> None:
    joined = Sampler()
    assert not joined.join("pytest-llmperf-nobody")
    assert (joined.alive, joined.address) == (False, "")


@pytest.mark.parametrize("fds", [0, 2, 3])
def test_who_gives_no_rings_is_not_joined(fds: int) -> None:
    """It closes the connection, gives too few files, or files that are no rings."""
    address = f"pytest-llmperf-test-{os.getpid()}-{fds}"
    with socket.socket(socket.AF_UNIX) as listener, open(os.devnull, "rb") as file:
        listener.bind("\0" + address)
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                if fds:
                    socket.send_fds(connection, [b"\n"], [file.fileno()] * fds)

        thread = threading.Thread(target=serve)
        thread.start()
        assert not Sampler().join(address)
        thread.join(PATIENCE_S)


# --------------------------------------------------------------------------------------------------------------- orders


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(shared: Sampler) -> None:
    halt(pid_of(shared))
    try:
        with pytest.raises(SamplerError, match=r"the sampler did not answer within 0\.05 s"):
            shared.ask("faults", 0.05)
    finally:
        os.kill(pid_of(shared), signal.SIGCONT)
    assert shared.ask("stop_watching", key=1) == {}
    assert shared.ask("faults") == {"faults": []}


def test_what_cannot_be_had_is_an_error_and_the_sampler_lives_on(shared: Sampler) -> None:
    with pytest.raises(SamplerError, match="the driver was not asked for a device 99 yet"):
        shared.ask("sample", slots=[99])
    with pytest.raises(SamplerError, match="is not a DCGM exporter"):
        shared.ask("exporters", urls=["ftp://here"], hz=5)
    assert shared.ask("edge", align=False) == {"names": {}, "faults": []}


def test_a_sampler_that_died_says_so_to_who_asks(shared: Sampler) -> None:
    os.kill(pid_of(shared), signal.SIGKILL)
    with pytest.raises(SamplerError, match=r"the sampler died \(killed by SIGKILL\)"):
        shared.ask("faults")


# ------------------------------------------------------------------------------------------------------------ exporters


def stops_being_read(server: MetricsServer) -> None:
    def stands_still() -> bool:
        read = len(server.paths)
        time.sleep(0.2)
        return len(server.paths) == read

    until(stands_still)


def test_exporters_are_read_until_they_are_dropped(shared: Sampler, server: MetricsServer) -> None:
    answer = shared.ask("exporters", urls=[server.url], hz=100)
    ring = shared.exporters
    until(lambda: ring.head > 2)
    assert {r.key for r in ring.slice(0, ring.head)} == {facts["slot"] for facts in answer["devices"]}
    assert shared.ask("stop_reading", exporters=answer["exporters"]) == {}
    stops_being_read(server)


def test_exporters_that_two_ask_for_are_read_once_and_until_both_have_left(
    shared: Sampler, joined: Sampler, server: MetricsServer
) -> None:
    first = shared.ask("exporters", urls=[server.url], hz=100)
    assert joined.ask("exporters", urls=[server.url], hz=100) == first
    joined.stop()
    read = len(server.paths)
    until(lambda: len(server.paths) > read + 2)
    shared.ask("stop_reading", exporters=first["exporters"])
    stops_being_read(server)


def test_the_exporters_of_one_that_left_are_forgotten(shared: Sampler, joined: Sampler, server: MetricsServer) -> None:
    joined.ask("exporters", urls=[server.url], hz=100)
    until(lambda: len(server.paths) > 2)
    joined.stop()
    stops_being_read(server)
    assert shared.alive


def test_nobody_drops_the_exporters_of_others(shared: Sampler, joined: Sampler, server: MetricsServer) -> None:
    number = shared.ask("exporters", urls=[server.url], hz=100)["exporters"]
    assert joined.ask("stop_reading", exporters=number) == {}
    read = len(server.paths)
    until(lambda: len(server.paths) > read + 2)


# ---------------------------------------------------------------------------------------------------------------- hangs


def test_a_call_that_has_not_returned_for_a_second_is_a_hang(shared: Sampler) -> None:
    now = time.monotonic_ns()
    shared.driver.enter(CALL, now)
    assert shared.why_hanging() == ""
    shared.driver.enter(CALL, now - STALL_NS - 10**8)
    assert shared.why_hanging().startswith(f"the driver hangs: {CALL} has not returned for ")
    shared.driver.leave()
    assert shared.why_hanging() == ""


def test_a_call_that_hangs_is_why_there_is_no_answer(shared: Sampler) -> None:
    halt(pid_of(shared))
    shared.driver.enter(CALL, time.monotonic_ns() - 2 * STALL_NS)
    with pytest.raises(SamplerError, match="the driver hangs"):
        shared.ask("edge", 0.05, align=False)
    os.kill(pid_of(shared), signal.SIGCONT)


def test_a_call_of_a_sampler_that_has_ended_does_not_hang(shared: Sampler) -> None:
    shared.driver.enter(CALL, time.monotonic_ns() - 2 * STALL_NS)
    os.kill(pid_of(shared), signal.SIGKILL)
    until(lambda: not shared.alive)
    assert shared.why_hanging() == ""


def test_memory_is_missing_and_does_not_settle_while_the_lane_that_reads_it_hangs(
    shared: Sampler, process: MemoryProcess
) -> None:
    shared.watch(process.pid)
    halt(pid_of(shared))
    try:
        beat = shared.memory.published_ns
        shared.memory.enter("nvmlDeviceGetMemoryInfo", time.monotonic_ns() - 2 * STALL_NS)
        trace = shared.read(Window(beat, time.monotonic_ns() + 1), [process.pid])
        settled, reason = shared.settle([process.pid], timeout_s=1e9)
    finally:
        os.kill(pid_of(shared), signal.SIGCONT)
    assert (trace.fault, settled) == ("", None)
    for text in (trace.missing, reason):
        assert text.startswith("the driver hangs: nvmlDeviceGetMemoryInfo has not returned for ")
