"""Which devices there are, whether they are quiet, and on which an engine is: telemetry/devices.py."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.measurement.device_trace import DeviceProcess
from pytest_llmperf.telemetry import devices as devices_module
from pytest_llmperf.telemetry.analysis.attribution import Baseline
from pytest_llmperf.telemetry.device_traces import EngineBaselines
from pytest_llmperf.telemetry.devices import Devices
from pytest_llmperf.telemetry.records.ring import HOST, KNOWN, MATCHED, OURS, VISIBLE, RingRecord
from pytest_llmperf.telemetry.sampler.client import SamplerError
from pytest_llmperf.telemetry.sources import drivers
from tests.helpers.process_lists import ENGINE, GIB, L4, MS, OTHER_ENGINE, PYTEST, SOMEBODY, STRANGER
from tests.helpers.sampler_double import SECOND, SamplerDouble, devices, sampler

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_llmperf.telemetry.records.source import DeviceFacts

__all__ = ["devices", "sampler"]

HANG = "the driver hangs: nvmlDeviceGetMemoryInfo has not returned for 1.2 s"
WITH_ENGINE = (ENGINE, 3, MATCHED | VISIBLE)
SHARE = (ENGINE, 3, MATCHED | KNOWN)
GB10 = replace(L4, unified=True, total_bytes=None)


# ------------------------------------------------------------------------------------------------------ what there is


def test_the_devices_are_listed_once_for_each_sampler(devices: Devices, sampler: SamplerDouble) -> None:
    devices.open()
    assert [what for what, _ in sampler.orders] == ["devices"]
    assert (devices.present, devices.missing) == (True, "")
    assert devices.filter_visible(None, None) == ((L4,), "")
    sampler.started_ns, sampler.facts = 2, []
    devices.open()
    assert (devices.present, devices.missing) == (False, "the NVIDIA driver lists no device")
    assert devices.filter_visible(None, None) == ((), "")


@pytest.mark.parametrize("has_driver", [True, False])
def test_a_driver_that_cannot_be_used_is_there_all_the_same(
    has_driver: bool, sampler: SamplerDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = tmp_path / "nvidiactl"
    node.write_text("", encoding="utf-8") if has_driver else None
    monkeypatch.setattr(drivers, "DEVICE_NODE", node)
    sampler.failures["devices"] = "the NVIDIA driver is not loaded"
    found = Devices(sampler)  # type: ignore[arg-type]
    found.open()
    assert (found.present, found.missing) == (has_driver, "the NVIDIA driver is not loaded")


def test_devices_are_sampled_by_their_slots_after_a_look_at_what_there_is(sampler: SamplerDouble) -> None:
    found = Devices(sampler)  # type: ignore[arg-type]
    found.sample([L4, replace(L4, slot=1000, backend="dcgm")])
    assert sampler.orders == [("devices", {}), ("sample", {"slots": [L4.slot]})]


# ------------------------------------------------------------------------------------------------------- quiet or not


def test_a_device_with_nobody_on_it_and_a_level_that_stands_still_is_quiet(
    devices: Devices, sampler: SamplerDouble
) -> None:
    now = time.monotonic_ns()
    sampler.levels(now - SECOND, now)
    sampler.at_edge = lambda: sampler.processes(5, (PYTEST, 1, OURS | VISIBLE))
    assert devices.settle([L4], patience_s=10) == devices_module.Disturbances()


def test_a_stranger_is_waited_for_and_then_named(devices: Devices, sampler: SamplerDouble) -> None:
    sampler.names = {STRANGER: "trainer"}
    sampler.at_edge = lambda: sampler.processes(5, (STRANGER, 3, VISIBLE), (SOMEBODY, 1, 0))
    quiet = devices.settle([L4], patience_s=0.05)
    assert quiet.strangers == ((L4, DeviceProcess(STRANGER, "trainer")), (L4, DeviceProcess(SOMEBODY)))
    assert len(sampler.orders) > 2


def test_a_stranger_that_leaves_in_time_was_none(devices: Devices, sampler: SamplerDouble) -> None:
    present = [(STRANGER, 3, VISIBLE)] * 3

    def edge() -> None:
        sampler.processes(5, *[present.pop()] if present else [])

    sampler.at_edge = edge
    assert devices.settle([L4], patience_s=60).strangers == ()


def test_without_patience_one_look_is_enough(devices: Devices, sampler: SamplerDouble) -> None:
    sampler.at_edge = lambda: sampler.processes(5, (STRANGER, 3, VISIBLE))
    assert len(devices.settle([L4], patience_s=0).strangers) == 1
    assert [what for what, _ in sampler.orders] == ["devices", "edge"]


def test_who_is_expected_is_no_stranger(devices: Devices, sampler: SamplerDouble) -> None:
    sampler.at_edge = lambda: sampler.processes(5, (STRANGER, 3, VISIBLE))
    assert devices.settle([L4], patience_s=60, expected=[STRANGER]).strangers == ()


def test_a_level_that_moves_is_told_of_when_the_time_is_over(devices: Devices, sampler: SamplerDouble) -> None:
    now = time.monotonic_ns()
    sampler.levels(now - SECOND, now + SECOND, lambda t: 5 if t < now else 6)
    sampler.at_edge = lambda: sampler.processes(5)
    quiet = devices.settle([L4], patience_s=0, timeout_s=0.05)
    assert quiet.restless == ("NVIDIA L4 by 1.00 GiB",)


def test_a_level_that_moves_by_a_page_stands_still(devices: Devices, sampler: SamplerDouble) -> None:
    now = time.monotonic_ns()
    sampler.levels(now - SECOND, now, lambda t: 5 + 2 / 1024 * (t // (5 * MS) % 2))
    assert devices.settle([L4], patience_s=0).restless == ()


def test_a_process_with_the_number_of_a_device_is_not_its_level(devices: Devices, sampler: SamplerDouble) -> None:
    now = time.monotonic_ns()
    sampler.memory.publish(now, [RingRecord(now - MS * i, i * GIB, L4.slot, 1, HOST) for i in (2, 1)])
    assert devices.settle([L4], patience_s=0).restless == ()


def test_where_another_engine_of_this_run_works_the_level_may_move(devices: Devices, sampler: SamplerDouble) -> None:
    now = time.monotonic_ns()
    sampler.levels(now - SECOND, now, lambda t: 5 if t < now - SECOND // 2 else 6)
    sampler.at_edge = lambda: sampler.processes(6, WITH_ENGINE, shares=[SHARE])
    assert devices.settle([L4], patience_s=0).restless == ()


def test_memory_that_is_still_being_given_back_is_waited_for(devices: Devices, sampler: SamplerDouble) -> None:
    now = time.monotonic_ns()
    sampler.levels(now - SECOND, now + 2 * SECOND, lambda t: 6 if t < now - SECOND // 2 else 1)
    assert devices.rest([L4]) == ()
    assert devices.baselines([L4])[L4.slot].level == GIB


def test_a_process_that_is_just_ending_is_no_engine_at_work(devices: Devices, sampler: SamplerDouble) -> None:
    now = time.monotonic_ns()
    sampler.levels(now - SECOND, now + 2 * SECOND, lambda t: 6 if t < now - SECOND // 2 else 1)
    sampler.processes(6, WITH_ENGINE, shares=[SHARE])  # in the list of a moment ago it is still there
    sampler.at_edge = lambda: sampler.processes(1)
    assert devices.rest([L4]) == ()
    assert devices._traces.measure_movement(L4) == 0


def test_memory_that_is_not_given_back_is_told_of_with_who_holds_it(devices: Devices, sampler: SamplerDouble) -> None:
    now = time.monotonic_ns()
    sampler.names = {STRANGER: "trainer"}
    sampler.levels(now - SECOND, now + SECOND, lambda t: 5 + t // (5 * MS) % 2)
    sampler.at_edge = lambda: sampler.processes(5, (STRANGER, 3, VISIBLE | KNOWN))
    (text,) = devices.rest([L4], timeout_s=0.05)
    assert text.startswith("NVIDIA L4 by 1.00 GiB, on it ")
    assert "(trainer) 3.00 GiB" in text


# A device with unified memory has the level of the host, in which others allocate and free.


@pytest.fixture
def unified_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices_module, "UNIFIED_TIMEOUT_S", 0.05)


@pytest.mark.usefixtures("unified_patience")
def test_a_level_of_the_host_that_never_stands_still_is_no_disturbance(
    devices: Devices, sampler: SamplerDouble
) -> None:
    now = time.monotonic_ns()
    sampler.levels(now - SECOND, now + 2 * SECOND, lambda t: 100 + 9 * (t // (5 * MS) % 2))
    sampler.at_edge = lambda: sampler.processes(100)
    # Neither of them waits for as long as a device of its own would be waited for: a test of 300 s ends here.
    assert devices.settle([GB10], patience_s=0, timeout_s=1e9) == devices_module.Disturbances()
    assert devices.rest([GB10], timeout_s=1e9) == ()


def test_a_level_of_the_host_may_move_by_a_share_of_itself(devices: Devices, sampler: SamplerDouble) -> None:
    now = time.monotonic_ns()
    sampler.levels(now - SECOND, now, lambda t: 100 + t // (5 * MS) % 2)
    assert devices.settle([GB10], patience_s=0, timeout_s=1e9).restless == ()


def test_memory_of_the_host_that_an_engine_gives_back_is_waited_for(devices: Devices, sampler: SamplerDouble) -> None:
    now = time.monotonic_ns()
    sampler.levels(now - SECOND, now + 2 * SECOND, lambda t: 60 if t < now - SECOND // 2 else 10)
    assert devices.rest([GB10]) == ()
    assert devices.baselines([GB10])[GB10.slot].level == 10 * GIB


@pytest.mark.usefixtures("unified_patience")
def test_a_stranger_on_a_device_with_unified_memory_is_one(devices: Devices, sampler: SamplerDouble) -> None:
    sampler.at_edge = lambda: sampler.processes(5, (STRANGER, 3, VISIBLE))
    assert devices.settle([GB10], patience_s=0).strangers == ((GB10, DeviceProcess(STRANGER)),)


@pytest.mark.parametrize(
    "ask",
    [
        lambda devices: devices.settle([L4], patience_s=0),
        lambda devices: devices.baselines([L4]),
        lambda devices: devices.find_engine_devices(EngineBaselines((ENGINE,)), [L4]),
    ],
    ids=["settle", "baselines", "of_engine"],
)
def test_a_driver_that_hangs_says_nothing_of_a_device(ask, devices: Devices, sampler: SamplerDouble) -> None:  # type: ignore[no-untyped-def]
    sampler.processes(5)
    sampler.hung = HANG
    with pytest.raises(SamplerError, match="the driver hangs"):
        ask(devices)


# ------------------------------------------------------------------------------------------------- before an engine


def test_the_baseline_is_the_level_of_a_list_and_everybody_in_it(devices: Devices, sampler: SamplerDouble) -> None:
    sampler.level(9)
    sampler.at_edge = lambda: sampler.processes(
        5, WITH_ENGINE, (PYTEST, 1, OURS), (SOMEBODY, 1, 0), shares=[SHARE, (OTHER_ENGINE, 0, KNOWN)]
    )
    assert devices.baselines([L4]) == {L4.slot: Baseline(5 * GIB, frozenset({ENGINE, PYTEST, SOMEBODY}))}


def test_where_no_list_can_be_had_the_baseline_is_the_last_level_and_nobody_knows_who_was_there(
    devices: Devices, sampler: SamplerDouble
) -> None:
    sampler.processes(4)  # of an earlier time, when there was a list
    sampler.level(3)
    sampler.level(5)
    assert devices.baselines([L4]) == {L4.slot: Baseline(5 * GIB, None)}


def test_a_device_of_which_nothing_can_be_read_has_no_baseline(devices: Devices) -> None:
    assert devices.baselines([L4]) == {}


# -------------------------------------------------------------------------------------------------- where an engine is

OTHER = replace(L4, slot=3, uuid="GPU-2")
BEFORE = {2: Baseline(5 * GIB), 3: Baseline(5 * GIB)}


def where(devices: Devices, *candidates: DeviceFacts, baselines: dict[int, Baseline] | None = None) -> list[int] | None:
    """The slots of the devices that the engine is on."""
    found = devices.find_engine_devices(EngineBaselines((ENGINE,), baselines or {}), candidates)
    return None if found is None else [facts.slot for facts in found]


@pytest.mark.parametrize("flags", [MATCHED | KNOWN, MATCHED])
def test_an_engine_is_where_its_processes_are_listed_whatever_they_hold(
    flags: int, devices: Devices, sampler: SamplerDouble
) -> None:
    def edge() -> None:
        sampler.processes(9, (STRANGER, 3, VISIBLE), shares=[(ENGINE, 0, KNOWN)], slot=2)
        sampler.processes(9, (ENGINE, 0, flags), shares=[(ENGINE, 0, flags)], slot=3)

    sampler.at_edge = edge
    assert where(devices, L4, OTHER) == [3]


def test_an_engine_is_nowhere_when_others_are_listed_by_pids_that_can_be_seen(
    devices: Devices, sampler: SamplerDouble
) -> None:
    sampler.at_edge = lambda: sampler.processes(9, (STRANGER, 3, VISIBLE))
    assert where(devices, L4, baselines=BEFORE) == []


def test_who_cannot_be_seen_may_be_the_engine(devices: Devices, sampler: SamplerDouble) -> None:
    sampler.at_edge = lambda: sampler.processes(9, (STRANGER, 3, VISIBLE), (SOMEBODY, 1, 0))
    assert where(devices, L4) is None


@pytest.mark.parametrize(("level", "expected"), [(5.05, []), (5.2, None)])
def test_without_pids_the_engine_is_nowhere_if_no_level_rose_by_what_a_context_takes(
    level: float, expected: list[int] | None, devices: Devices, sampler: SamplerDouble
) -> None:
    sampler.level(level)
    assert where(devices, L4, OTHER, baselines=BEFORE) == expected


def test_without_pids_and_baseline_nobody_knows_where_the_engine_is(devices: Devices, sampler: SamplerDouble) -> None:
    sampler.level(5)
    assert where(devices, L4) is None


def test_the_level_of_the_host_does_not_tell_where_an_engine_computes(devices: Devices, sampler: SamplerDouble) -> None:
    sampler.level(5)
    assert where(devices, GB10, baselines=BEFORE) is None


# ------------------------------------------------------------------------------------------------------------- an edge


def test_an_edge_that_cannot_be_read_says_why(devices: Devices, sampler: SamplerDouble) -> None:
    assert devices.edge(align=True) == ""
    assert sampler.orders[-1] == ("edge", {"align": True})
    sampler.failures["edge"] = "the sampler died (killed by SIGKILL)"
    assert devices.edge() == "the sampler died (killed by SIGKILL)"


def test_a_driver_that_hangs_is_not_asked_again(devices: Devices, sampler: SamplerDouble) -> None:
    sampler.hung = HANG
    assert devices.edge() == HANG
    assert [what for what, _ in sampler.orders] == ["devices"]
