"""Devices behind DCGM exporters, seen through the ring of exporters: telemetry/devices.py, device_traces.py."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.measurement.window import Window
from pytest_llmperf.telemetry.records.ring import DEVICE_MEMORY, ENERGY, EXPORTERS, POWER, RingRecord
from pytest_llmperf.telemetry.records.source import Why
from tests.helpers.process_lists import GIB, L4, MS
from tests.helpers.sampler_double import SECOND, SamplerDouble, devices, sampler, window

if TYPE_CHECKING:
    from pytest_llmperf.measurement.device_trace import DeviceTrace
    from pytest_llmperf.telemetry.devices import Devices

__all__ = ["devices", "sampler", "window"]

REMOTE = replace(L4, slot=1000, backend="dcgm", memory_api="DCGM FB_USED")


@pytest.fixture
def remote(devices: Devices, sampler: SamplerDouble, monkeypatch: pytest.MonkeyPatch) -> Devices:
    monkeypatch.setattr(devices, "_dcgm", ("http://node-a:9400/metrics",))
    sampler.facts = [REMOTE]
    devices.open_remote()
    return devices


def collected(sampler: SamplerDouble, window: Window, until_ns: int = 0) -> None:
    """A page read every 0.2 s with values that change each time."""
    for number, t in enumerate(range(window.start_ns - SECOND, until_ns or window.end_ns + SECOND, 200 * MS)):
        values = ((DEVICE_MEMORY, 5 * GIB), (POWER, 100_000 + number), (ENERGY, 20_000 * number))
        sampler.exporters.publish(t, [RingRecord(t, value, REMOTE.slot, 0, lane) for lane, value in values])


def remote_trace(remote: Devices, window: Window) -> DeviceTrace:
    (found,) = remote.traces(window, [REMOTE], [])
    return found


def test_a_device_behind_an_exporter_is_told_of_as_a_whole(
    remote: Devices, sampler: SamplerDouble, window: Window
) -> None:
    window = Window(window.start_ns, window.end_ns + SECOND)
    collected(sampler, window)
    found = remote_trace(remote, window)
    assert (found.memory.attribution, found.memory.peak_bytes) == ("device", 5 * GIB)
    assert (found.memory.fault, found.memory.missing) == ("", "")
    assert "DCGM FB_USED" in found.memory.source


def test_an_exporter_that_was_not_seen_to_collect_twice_tells_nothing(
    remote: Devices, sampler: SamplerDouble, window: Window
) -> None:
    found = remote_trace(remote, window)
    assert "http://node-a:9400/metrics was not seen to collect twice" in found.memory.missing
    assert found.energy.reason == found.memory.missing


def test_an_exporter_that_did_not_answer_is_the_reason(remote: Devices, sampler: SamplerDouble, window: Window) -> None:
    sampler.fail(
        sampler.exporters, window.start_ns, EXPORTERS, "no server listens at http://node-a:9400", Why.TRANSIENT, slot=1
    )
    assert remote_trace(remote, window).memory.missing == "no server listens at http://node-a:9400"


def test_other_exporters_in_the_ring_say_nothing_of_how_often_these_collect(
    remote: Devices, sampler: SamplerDouble, window: Window
) -> None:
    window = Window(window.start_ns, window.end_ns + SECOND)
    sampler.exporters.publish(window.start_ns - SECOND, [RingRecord(window.start_ns - SECOND, 1, 2000, 0, POWER)])
    collected(sampler, window)
    assert remote_trace(remote, window).memory.missing == ""


def test_a_sampler_that_died_takes_the_pages_along(remote: Devices, sampler: SamplerDouble, window: Window) -> None:
    collected(sampler, window, window.end_ns)
    sampler.died, sampler.alive = "the sampler died (killed by SIGKILL)", False
    assert remote_trace(remote, window).memory.fault == "the sampler died (killed by SIGKILL)"


def test_a_device_behind_an_exporter_is_not_waited_for(remote: Devices) -> None:
    settled, reason = remote.wait_until_settled(REMOTE, [], 1e9)
    assert (settled, reason) == (None, "a DCGM exporter collects too seldom to show when the memory has settled")


def test_exporters_are_opened_once_for_each_sampler_and_again_after_a_failure(
    remote: Devices, sampler: SamplerDouble
) -> None:
    remote.open_remote()
    assert [what for what, _ in sampler.orders].count("exporters") == 1
    sampler.started_ns, sampler.failures = 2, {"exporters": "no server listens"}
    remote.open_remote()
    assert (remote.remote, remote.remote_missing) == ((), "no server listens")
    sampler.failures = {}
    remote.open_remote()
    assert (remote.remote, remote.remote_missing) == ((REMOTE,), "")
