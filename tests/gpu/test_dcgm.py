"""Engines of other hosts, end to end: what a DCGM exporter tells of their GPUs, and when it does not suffice."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.gpu.dcgm_runs import WATTS, Hosts
from tests.gpu.gpu_runs import MIB, one_gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_llmperf.testing import Scenario
    from tests.gpu.gpu_runs import GpuRuns

MEMORY = """
@pytest.mark.memory_budget({limits})
def test_memory(llm_client):
    assert llm_client.generate("x", max_tokens=4, simulate={{"ttft": "{seconds} s"}}).text
"""
GROWS = """
@pytest.mark.memory_budget(peak="60 GiB", growth="10 GiB")
@pytest.mark.energy_budget(total="5 kJ", mean_power="200 W")
def test_grows(llm_client):
    Path("used").write_text("41000")
    assert llm_client.generate("x", max_tokens=4, simulate={"ttft": "3 s"}).text
"""


@pytest.fixture
def runs(gpu_runs: Callable[[Scenario], GpuRuns]) -> GpuRuns:
    """On a host with a GPU of its own, which is not the one that the server computes on."""
    return gpu_runs(one_gpu(name="NVIDIA L4"))


@pytest.fixture
def hosts(pytester: pytest.Pytester) -> Iterator[Hosts]:
    with ExitStack() as stack:
        yield Hosts(pytester.path, stack)


def attached(runs: GpuRuns, hosts: Hosts, source: str, *exporters: str, workers: int = 0) -> pytest.RunResult:
    options = [f"--llmperf-dcgm={url}" for url in exporters] + ([f"-n{workers}"] if workers else [])
    return runs.plain(source, "--llm-engine=openai", f"--llmperf-url={hosts.server}", "--llmperf-strict", *options)


def test_an_exporter_that_collects_often_enough_tells_memory_and_energy(runs: GpuRuns, hosts: Hosts) -> None:
    result = attached(runs, hosts, GROWS, hosts.exporter(100).url)
    result.assert_outcomes(failed=1)
    verdicts = {v["name"]: v["status"] for v in runs.verdicts}
    assert verdicts == {
        "memory.peak": "PASS",
        "memory.growth": "FAIL",
        "energy.total": "PASS",
        "energy.mean_power": "FAIL",
    }
    result.stdout.fnmatch_lines(["why *memory.growth 19.5 GiB > 10 GiB (margin -95.3 %)"])
    (measured,) = runs.measurements
    (device,) = measured["devices"]
    assert device["device"]["name"] == "NVIDIA H200"
    assert (device["memory"]["attribution"], device["memory"]["peak_bytes"]) == ("device", 41_000 * MIB)
    assert "DCGM FB_USED" in device["memory"]["source"]
    seconds = measured["window"]["seconds"]
    assert device["energy"]["joules"] == pytest.approx(WATTS * seconds, rel=0.3 / seconds + 0.05)


def test_an_exporter_with_its_usual_interval_tells_no_peak_and_names_the_setting(runs: GpuRuns, hosts: Hosts) -> None:
    exporter = hosts.exporter(30_000)
    result = attached(runs, hosts, MEMORY.format(limits='peak="60 GiB"', seconds="0.4"), exporter.url)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [f"memory.peak NOT MEASURED: *{exporter.url}*--collect-interval=100, or DCGM_EXPORTER_INTERVAL=100*"]
    )


def test_an_interval_that_was_seen_is_named_with_what_the_test_has_of_it(runs: GpuRuns, hosts: Hosts) -> None:
    source = MEMORY.format(limits='peak="60 GiB"', seconds="2.5").replace("memory_budget", "energy_budget")
    source = source.replace('peak="60 GiB"', 'total="5 kJ"')
    result = attached(runs, hosts, source, hosts.exporter(500).url)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["energy.total NOT MEASURED: *collects every 0.* s, a test of 2.* s has * collections*"]
    )


def test_what_is_retained_is_not_told_by_an_exporter(runs: GpuRuns, hosts: Hosts) -> None:
    result = attached(runs, hosts, MEMORY.format(limits='retained="1 GiB"', seconds="2.6"), hosts.exporter(100).url)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["memory.retained NOT MEASURED: *a DCGM exporter collects too seldom*"])


def test_every_exporter_and_its_devices_count(runs: GpuRuns, hosts: Hosts) -> None:
    exporters = [hosts.exporter(100, host=host) for host in ("node-a", "node-b")]
    source = MEMORY.format(limits='peak="60 GiB"', seconds="2.5").replace("memory_budget", "energy_budget")
    source = source.replace('peak="60 GiB"', 'mean_power="700 W"')
    result = attached(runs, hosts, source, *(exporter.url for exporter in exporters))
    result.assert_outcomes(passed=1)
    (measured,) = runs.measurements
    assert [d["device"]["uuid"] for d in measured["devices"]] == ["GPU-node-a-0", "GPU-node-b-0"]
    assert measured["readings"]["energy.mean_power"]["value"] == pytest.approx(2 * WATTS, rel=0.15)


def test_workers_of_xdist_measure_through_an_exporter_in_turn(runs: GpuRuns, hosts: Hosts) -> None:
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    exporter = hosts.exporter(100)
    source = MEMORY.format(limits='peak="60 GiB"', seconds="2.6").replace(
        "def test_memory(", '@pytest.mark.parametrize("worker", [1, 2])\ndef test_memory(worker, '
    )
    attached(runs, hosts, source, exporter.url, workers=2).assert_outcomes(passed=2)
    assert {device["device"]["uuid"] for m in runs.measurements for device in m["devices"]} == {"GPU-node-a-0"}
    assert [m["devices"][0]["memory"]["peak_bytes"] for m in runs.measurements] == [21_000 * MIB] * 2


ANSWER = MEMORY.format(limits='peak="60 GiB"', seconds="0.1")


def test_without_an_exporter_the_reason_says_which_option_names_one(runs: GpuRuns, hosts: Hosts) -> None:
    result = attached(runs, hosts, ANSWER)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["memory.peak NOT MEASURED: process *: it seems to forward requests to the engine; *--llmperf-dcgm=*"]
    )


def test_an_exporter_that_is_down_is_the_reason(runs: GpuRuns, hosts: Hosts) -> None:
    result = attached(runs, hosts, ANSWER, "127.0.0.1:9")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["memory.peak NOT MEASURED: the DCGM exporter cannot be read: no server listens at http*:9*"]
    )


def test_a_page_that_is_no_exporters_is_the_reason(runs: GpuRuns, hosts: Hosts) -> None:
    result = attached(runs, hosts, ANSWER, hosts.server)
    result.assert_outcomes(failed=1)
    reason = f"{hosts.server}/metrics is not the page of a DCGM exporter: it shows no DCGM_FI_DEV_*"
    result.stdout.fnmatch_lines([f"memory.peak NOT MEASURED: {reason}"])


def test_an_exporter_that_ends_during_a_test_is_the_reason(runs: GpuRuns, hosts: Hosts) -> None:
    # One that had been seen to collect often enough would make the budgets INVALID: this one never is, at any speed.
    exporter = hosts.exporter(600_000)
    source = """
    @pytest.mark.memory_budget(peak="60 GiB")
    @pytest.mark.energy_budget(total="5 kJ")
    def test_loses_the_exporter(llm_client):
        Path("down").touch()
        assert llm_client.generate("x", max_tokens=4, simulate={"ttft": "2.5 s"}).text
    """
    result = attached(runs, hosts, source, exporter.url)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [f"*memory.peak NOT MEASURED: *{exporter.url}/metrics is not the page of a DCGM exporter*"]
    )
    assert {v["status"] for v in runs.verdicts} == {"NOT MEASURED"}


def test_a_sampler_that_was_started_anew_reads_the_exporter_again(runs: GpuRuns, hosts: Hosts) -> None:
    source = """
    import psutil

    def test_kills_the_sampler(llm_client):
        (sampler,) = [p for p in psutil.Process().children() if "pytest_llmperf.telemetry.sampler.main" in p.cmdline()]
        sampler.kill()

    @pytest.mark.memory_budget(peak="60 GiB")
    def test_after_it(llm_client):
        assert llm_client.generate("x", max_tokens=4, simulate={"ttft": "2.6 s"}).text
    """
    attached(runs, hosts, source, hosts.exporter(100).url).assert_outcomes(passed=2)
    assert [v["status"] for v in runs.verdicts] == ["PASS"]
