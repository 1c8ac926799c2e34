"""Facts about this process under pytest-xdist: whether it is a worker, what its controller told it, and the way back.

Knows pytest-xdist's ``workerinput`` and ``workeroutput`` only: nothing of it is imported.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

SHARES = ("engine", "devices")
SAMPLER, RUN, DEVICES, SEED = "llmperf_sampler", "llmperf_run", "llmperf_devices", "llmperf_seed"
WIDTH = "llmperf_width"
CALLS_OUTSIDE, FINDINGS = "llmperf_calls_outside", "llmperf_findings"


def is_worker(config: pytest.Config) -> bool:
    """Whether this process runs tests for a controller, which writes the reports."""
    return hasattr(config, "workerinput")


def is_controller_of_workers(config: pytest.Config) -> bool:
    """Whether the tests run elsewhere, in worker processes."""
    return not is_worker(config) and bool(
        getattr(config.option, "dist", "no") != "no" and getattr(config.option, "tx", None)
    )


def _read_input(config: pytest.Config, what: str) -> str:
    """What the controller passed to this worker under this key; empty in any other process."""
    workerinput: dict[str, object] = getattr(config, "workerinput", {})
    return str(workerinput.get(what, ""))


def sampler_address(config: pytest.Config) -> str:
    """The address at which this worker joins the sampler of the run; empty if the run shares none."""
    return _read_input(config, SAMPLER)


def read_seed(config: pytest.Config) -> int | None:
    """The seed that the controller has drawn for its workers; None in any other process."""
    seed = _read_input(config, SEED)
    return int(seed) if seed else None


def read_width(config: pytest.Config) -> int | None:
    """The width of the controller's terminal, in cells; None in any other process, and without a terminal."""
    width = _read_input(config, WIDTH)
    return int(width) if width else None


def run_folder(config: pytest.Config) -> str:
    """The folder of the run that this worker takes part in; empty in a process that shares no engines."""
    folder = _read_input(config, RUN)
    if not folder:
        return ""
    from pytest_llmperf.engines.lifecycle.shared_run import is_here

    return folder if is_here(folder) else ""  # the controller may be on another host


def has_devices_of_its_own(config: pytest.Config) -> bool:
    """Whether this worker was given devices: its environment names them since before anything was imported."""
    return bool(_read_input(config, DEVICES))


def report_calls_outside(config: pytest.Config, count: int | None) -> None:
    """Passes the number of calls that belonged to no test to the controller; does nothing in any other process."""
    if is_worker(config):
        config.workeroutput[CALLS_OUTSIDE] = count  # type: ignore[attr-defined]


def report_findings(config: pytest.Config, findings: list[list[str | bool]]) -> None:
    """Passes what a worker found to the controller; does nothing in any other process."""
    if is_worker(config):
        config.workeroutput[FINDINGS] = findings  # type: ignore[attr-defined]


def say(config: pytest.Config, text: str) -> None:
    """Sends one line from a worker to the terminal of the controller; does nothing in any other process."""
    folder = _read_input(config, RUN)
    if folder:
        from pytest_llmperf.plugin.worker_messages import write_message

        with suppress(OSError):  # the controller is gone, or on another host
            write_message(folder, text)
