"""The hooks of pytest-xdist: what the controller shares with its workers, and the order in which they measure.

Workers share one sampler. With ``--llmperf-share=engine`` they share the engines as well, and one of them at a time
runs a measured test; with ``devices`` each has devices of its own, and engines of its own on them.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.plugin.session import LOST_RUN
from pytest_llmperf.plugin.worker import CALLS_OUTSIDE, DEVICES, FINDINGS, RUN, SAMPLER, SEED, WIDTH

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from execnet import XSpec
    from xdist.workermanage import WorkerController

    from pytest_llmperf.engines.lifecycle.shared_run import OwnRun
    from pytest_llmperf.plugin.session import Session
    from pytest_llmperf.plugin.worker_messages import MessagePrinter

_MOST_WORKERS = 4


def propose_workers(config: pytest.Config) -> int | None:
    """The number of workers for ``-n auto``; None leaves it to pytest-xdist. Called before ``pytest_configure``.

    One for each device; or half of the cores, and four at most, since workers that share an engine measure in turn.
    """
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") or not _read_setting(config, "llm_engine"):
        return None
    if _read_setting(config, "llmperf_share") == "devices":
        return max(1, len(_list_devices(config)))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_WORKERS, cores // 2))


def _read_setting(config: pytest.Config, name: str) -> Any:
    given = config.getoption(name)
    return config.getini(name) if given is None else given


def _list_devices(config: pytest.Config) -> tuple[str, ...]:
    """The UUIDs of the devices that this run may use."""
    from pytest_llmperf.plugin.settings import visible_devices
    from pytest_llmperf.system.cuda_environ import VISIBLE_DEVICES
    from pytest_llmperf.telemetry.devices import list_visible

    chosen = visible_devices(_read_setting(config, "llmperf_gpus"))
    return tuple(facts.uuid for facts in list_visible(os.environ.get(VISIBLE_DEVICES) if chosen is None else chosen))


def loadgroup_is_broken(config: pytest.Config) -> bool:
    """Whether ``--dist=loadgroup`` silently scatters its groups: pytest from 9.2 on with pytest-xdist up to 3.8.0."""
    if getattr(config.option, "dist", "no") != "loadgroup":
        return False
    from importlib.metadata import version

    from packaging.version import Version

    return Version(pytest.__version__) >= Version("9.2.0") and Version(version("pytest-xdist")) <= Version("3.8.0")


_SCATTERED = (
    "--dist=loadgroup does not keep groups together with pytest 9.2 and pytest-xdist 3.8.0: use --dist=loadfile or "
    "loadscope, or another version of either"
)


class Controller:
    """Registered in the controller of workers: starts what they share and passes the addresses on to them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._address: str | None = None
        self._run: OwnRun | None = None
        self._messages: MessagePrinter | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, config: pytest.Config, specs: Sequence[XSpec]) -> None:
        """Divides the devices among the workers with ``--llmperf-share=devices``."""
        if self._session.settings.share == "devices":
            _assign_devices(specs, _list_devices(config))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: WorkerController) -> None:
        """Passes a new worker the addresses of what it shares."""
        from pytest_llmperf.system.cuda_environ import VISIBLE_DEVICES

        if self._address is None:
            self._address = self._session.telemetry.share()
        node.workerinput[SAMPLER] = self._address
        node.workerinput[SEED] = str(self._session.settings.seed)
        node.workerinput[WIDTH] = str(self._session.terminal.width or "")
        if self._session.settings.share == "devices":
            node.workerinput[DEVICES] = node.gateway.spec.env[VISIBLE_DEVICES]
        else:
            node.workerinput[RUN] = self._open_run().folder

    def _open_run(self) -> OwnRun:
        if self._run is None:
            from pytest_llmperf.engines.api.spec import EngineError
            from pytest_llmperf.engines.lifecycle.shared_run import OwnRun
            from pytest_llmperf.plugin.worker_messages import MessagePrinter

            try:
                self._run = OwnRun()
            except EngineError as error:
                raise pytest.UsageError(f"llmperf: {error}") from None
            self._messages = MessagePrinter(self._run.folder, self._session.terminal.say)
        return self._run

    def pytest_report_header(self, config: pytest.Config) -> list[str]:
        return [f"llmperf: warning: {_SCATTERED}"] if loadgroup_is_broken(config) else []

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        if loadgroup_is_broken(config):
            terminalreporter.write_line(f"llmperf: warning: {_SCATTERED}", yellow=True)

    @pytest.hookimpl(wrapper=True)
    def pytest_unconfigure(self) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            if self._messages is not None:
                self._messages.close()
            if self._run is not None:
                self._run.close()


class WorkerResults:
    """Registered in the controller of workers: collects what a worker that ends returns.

    That is the number of app calls that belonged to no test, and what the worker found out about budgets and options.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: WorkerController) -> None:
        """Collects what a worker returned; one that was killed has returned nothing."""
        returned = getattr(node, "workeroutput", {})
        self._session.add_calls_outside(returned.get(CALLS_OUTSIDE))
        self._session.findings.add_wire(returned.get(FINDINGS, ()))


def _assign_devices(specs: Sequence[XSpec], devices: Sequence[str]) -> None:
    """Divides the devices evenly among the workers. The successor of a crashed worker keeps its devices.

    They are set in the environment that a worker starts with, so that conftest files see them too.

    Raises:
        pytest.UsageError: there are fewer devices than workers, or a worker is on another host.
    """
    from pytest_llmperf.system.cuda_environ import VISIBLE_DEVICES

    each = len(devices) // len(specs)
    if not each:
        found = f"{len(devices)} device{'' if len(devices) == 1 else 's'}"
        advice = f"-n{len(devices)}, or " if devices else ""
        raise pytest.UsageError(
            f"llmperf: --llmperf-share=devices: {len(specs)} workers, and {found}: use {advice}--llmperf-share=engine"
        )
    if any(not spec.popen for spec in specs):
        raise pytest.UsageError("llmperf: --llmperf-share=devices is for workers of this host (-n)")
    for number, spec in enumerate(specs):
        spec.env[VISIBLE_DEVICES] = ",".join(devices[number * each : (number + 1) * each])


class MeasuringLock:
    """Registered in workers that share engines: lets their measured tests run one at a time.

    A worker waits before the test begins, so that neither the duration nor a timeout of the test includes the wait.
    """

    def __init__(self, session: Session, folder: str) -> None:
        self._session = session
        self._folder = folder

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Waits for the lock before a measured test begins, and keeps it until the test has ended."""
        if not self._session.measures(item):
            return (yield)
        from pytest_llmperf.engines.api.spec import EngineError
        from pytest_llmperf.engines.lifecycle.shared_run import lock_measuring

        with ExitStack() as stack:
            try:
                stack.enter_context(lock_measuring(self._folder))
            except EngineError as error:
                item.stash[LOST_RUN] = str(error)
            try:
                return (yield)
            finally:
                self._session.leave_to_others()
