"""The host's counters, from scripted trees of /proc and /sys."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.sources.cgroups import find_cpu_cgroups
from pytest_llmperf.telemetry.sources.host_counters import HostReader, ProcessorTimes, Throttling

if TYPE_CHECKING:
    from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PRESSURE = "some avg10=1.00 avg60=2.00 avg300=3.00 total={}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"


def write(root: Path, **files: str) -> None:
    """Writes files, by their paths with ``__`` for each slash."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A host with two processors, which tells of its pressure."""
    root = tmp_path / "proc"
    one = " ".join(str(n * TICKS) for n in (10, 1, 4, 100, 5, 2, 3, 6, 9, 9))
    write(root, stat=f"cpu  {one}\ncpu0 {one}\ncpu1 {one}\nintr 5\n", vmstat="pgin 4\npswpin 12\npswpout 3\n")
    write(root, pressure__cpu=PRESSURE.format(2_500_000), pressure__memory=PRESSURE.format(0))
    write(root, pressure__io=PRESSURE.format(10))
    return root


def mount(root: str, point: Path, kind: str, options: str) -> str:
    return f"41 31 0:38 {root} {point} rw,relatime shared:9 - {kind} {kind} {options}\n"


def in_version_2(proc: Path, folder: Path, path: str = "/pod/engine", root: str = "/") -> None:
    write(proc, **{"77__cgroup": f"0::{path}\n", "self__mountinfo": mount(root, folder, "cgroup2", "rw")})


def in_version_1(proc: Path, folder: Path) -> None:
    lines = "9:name=systemd:/\n4:memory:/mem\n2:cpu,cpuacct:/pod/engine\n0::/\n"
    write(proc, **{"77__cgroup": lines, "self__mountinfo": mount("/", folder, "cgroup", "rw,cpu,cpuacct")})


def test_processors_pressure_and_swap_are_read(proc: Path, tmp_path: Path) -> None:
    found = HostReader(proc, tmp_path / "sys").read()
    assert found.processors == ProcessorTimes(2, busy=20.0, steal=6.0, total=131.0)
    assert found.pressure == {"cpu": 2.5, "memory": 0.0, "io": 1e-5}
    assert found.swapped_in_bytes == 12 * PAGE


def test_the_quota_is_that_of_the_cgroup_or_of_one_above_it(proc: Path, tmp_path: Path) -> None:
    in_version_2(proc, tmp_path / "cgroup")
    own = "usage_usec 9\nnr_periods 40\nnr_throttled 4\nthrottled_usec 1500000\n"
    above = "usage_usec 9\nnr_periods 40\nnr_throttled 10\nthrottled_usec 9000000\n"
    write(tmp_path, cgroup__pod__engine__cpu=own)
    for folder, text in (("pod/engine", own), ("pod", above), ("", "usage_usec 9\n")):
        path = tmp_path / "cgroup" / folder
        path.mkdir(parents=True, exist_ok=True)
        (path / "cpu.stat").write_text(text, encoding="utf-8")
    (tmp_path / "cgroup/pod/engine/cpu.pressure").write_text(PRESSURE.format(1_000_000), encoding="utf-8")
    found = HostReader(proc, tmp_path / "sys").read(77)
    assert list(found.throttling.values()) == [Throttling(40, 4, 1.5), Throttling(40, 10, 9.0)]
    assert found.cgroup_pressure == {"cpu": 1.0}
    assert "throttling" not in found.unknown
    assert "cgroup_pressure.io" in found.unknown


def test_version_1_counts_nanoseconds(proc: Path, tmp_path: Path) -> None:
    in_version_1(proc, tmp_path / "cgroup")
    folder = tmp_path / "cgroup" / "pod" / "engine"
    folder.mkdir(parents=True)
    (folder / "cpu.stat").write_text("nr_periods 8\nnr_throttled 2\nthrottled_time 250000000\n", encoding="utf-8")
    found = HostReader(proc, tmp_path / "sys").read(77)
    assert list(found.throttling.values()) == [Throttling(8, 2, 0.25)]
    assert found.cgroup_pressure == {}
    assert "cgroup_pressure.cpu" in found.unknown


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("/pod/engine", "/", ["pod/engine", "pod", "."]),
        ("/docker/abc", "/docker/abc", ["."]),  # a container that is shown its own part of the hierarchy
        ("/docker/abc/engine", "/docker/abc", ["engine", "."]),
        ("/not/shown/here", "/", ["."]),
    ],
)
def test_cgroups_are_found_below_their_mount(
    proc: Path, tmp_path: Path, path: str, root: str, expected: list[str]
) -> None:
    for folder in ("pod/engine", "engine"):
        (tmp_path / "cgroup" / folder).mkdir(parents=True)
    in_version_2(proc, tmp_path / "cgroup", path, root)
    assert find_cpu_cgroups(77, proc) == [tmp_path / "cgroup" / each for each in expected]


def test_clocks_temperature_and_battery_are_read(proc: Path, tmp_path: Path) -> None:
    cpus, supplies = tmp_path / "sys" / "devices/system/cpu", tmp_path / "sys" / "class/power_supply"
    for number, limit in ((0, 3_000_000), (1, 1_500_000)):
        write(cpus / f"cpu{number}", cpufreq__scaling_max_freq=f"{limit}\n", cpufreq__cpuinfo_max_freq="3000000\n")
        write(cpus / f"cpu{number}", thermal_throttle__core_throttle_count=f"{number + 2}\n")
    write(supplies / "AC", type="Mains\n")
    write(supplies / "BAT0", type="Battery\n", status="Discharging\n")
    found = HostReader(proc, tmp_path / "sys").read()
    assert (found.frequency_limit, found.thermal_throttles, found.on_battery) == (0.5, 5, True)


def test_a_battery_of_a_mouse_is_not_the_hosts(proc: Path, tmp_path: Path) -> None:
    supplies = tmp_path / "sys" / "class/power_supply"
    write(supplies / "mouse", type="Battery\n", status="Discharging\n", scope="Device\n")
    assert HostReader(proc, tmp_path / "sys").read().on_battery is None


@pytest.mark.parametrize(
    "stat", ["", "intr 1\n", "cpu  1 2 3\ncpu0 1 2 3\n", "cpu  1 2 3 4 5 6 7 8\n", "cpu  a b c d e f g h\ncpu0 1\n"]
)
def test_a_strange_stat_is_not_known(tmp_path: Path, stat: str) -> None:
    write(tmp_path, proc__stat=stat)
    found = HostReader(tmp_path / "proc", tmp_path / "sys").read()
    assert found.processors is None
    assert found.unknown["processors"]


def test_what_a_host_does_not_tell_is_not_known_and_never_zero(tmp_path: Path) -> None:
    found = HostReader(tmp_path / "proc", tmp_path / "sys").read(77)
    values = (found.processors, found.swapped_in_bytes, found.frequency_limit, found.thermal_throttles)
    assert {*values, found.on_battery} == {None}
    assert (found.pressure, found.cgroup_pressure, found.throttling) == ({}, {}, {})
    assert set(found.unknown) == {
        *("processors", "swapped_in_bytes", "frequency_limit", "thermal_throttles", "on_battery", "throttling"),
        *(f"{name}.{kind}" for name in ("pressure", "cgroup_pressure") for kind in ("cpu", "memory", "io")),
    }
    assert all(found.unknown.values())
