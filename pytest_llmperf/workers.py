"""All that concerns pytest-xdist: who is who."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

    from pytest_llmperf.session import Session

_SAMPLER = "llmperf_sampler"
_CALLS_OUTSIDE = "llmperf_calls_outside"


def is_worker(config: pytest.Config) -> bool:
    """Whether this process runs tests for a controller, which writes the reports."""
    return hasattr(config, "workerinput")


def is_controller_of_workers(config: pytest.Config) -> bool:
    """Whether the tests run elsewhere, in worker processes."""
    return not is_worker(config) and bool(
        getattr(config.option, "dist", "no") != "no" and getattr(config.option, "tx", None)
    )


def sampler_address(config: pytest.Config) -> str:
    """Where the sampler of this run may be joined; empty where there is none to share."""
    workerinput: dict[str, object] = getattr(config, "workerinput", {})
    return str(workerinput.get(_SAMPLER, ""))


def report_calls_outside(config: pytest.Config, count: int | None) -> None:
    """Tells the controller, where there is one."""
    if is_worker(config):
        config.workeroutput[_CALLS_OUTSIDE] = count  # type: ignore[attr-defined]


class Controller:
    """Registered in the controller of workers: it starts the one sampler of this host, and tells the workers of it.

    When they end, they tell how many calls of apps belonged to no test.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._address: str | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: WorkerController) -> None:
        if self._address is None:
            self._address = self._session.watcher.share()
        node.workerinput[_SAMPLER] = self._address

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: WorkerController) -> None:
        # A worker that was killed has told nothing.
        self._session.add_calls_outside(getattr(node, "workeroutput", {}).get(_CALLS_OUTSIDE))
