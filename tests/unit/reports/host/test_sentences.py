"""The host in words, from its wire form."""

from __future__ import annotations

from pytest_llmperf.measurement.host.state import HostState, ThreadTimes
from pytest_llmperf.reports.host.sentences import describe_host
from pytest_llmperf.reports.wire.host import host_to_wire


def lines(host: HostState) -> list[str]:
    return describe_host(host_to_wire(host, ""))


def test_a_calm_host_has_two_sentences() -> None:
    calm = HostState(
        seconds=10.0,
        threads=ThreadTimes(5.0, 0.1),
        processors=4,
        busy_cores=0.8,
        steal=0.0,
        pressure={"cpu": 0.02, "memory": 0.0, "io": 0.01},
        cgroup_pressure={"cpu": 0.01},
        throttled_periods=0.0,
        throttled_seconds=0.0,
        swapped_in_bytes=0,
        frequency_limit=1.0,
        thermal_throttles=0,
        on_battery=False,
    )
    assert lines(calm) == [
        "the engine ran for 5.00 s and waited 100 ms for a core (2 %), others used 0.3 of 4 cores, steal 0 %",
        "pressure of the host: cpu 2 %, memory 0 %, io 1 %; of the engine's cgroup: cpu 1 %; not throttled",
    ]


def test_what_is_out_of_the_common_has_a_third() -> None:
    hot = HostState(
        10.0,
        swapped_in_bytes=2**20,
        frequency_limit=0.5,
        thermal_throttles=3,
        on_battery=True,
        busy_cores=1.0,
        processors=2,
        throttled_periods=0.25,
        throttled_seconds=2.0,
    )
    first, second, third = lines(hot)
    assert "1.0 of 2 cores were in use" in first
    assert second.endswith("throttled for 2.00 s, in 25 % of the periods")
    assert third == (
        "1.00 MiB read back from swap, clocks limited to 50 % of their largest, processors slowed down by their "
        "temperature 3 times, on battery"
    )


def test_what_is_not_known_is_said_to_be_so() -> None:
    assert lines(HostState(10.0, unknown={"threads": "hidden"})) == [
        "how long the engine waited for a core is not known: hidden, steal not known",
        "pressure of the host not known; of the engine's cgroup not known; throttling not known",
    ]
