"""The simulated engine's server: APIs for LLMs over HTTP, with tokens that leave on a schedule.

    python -m pytest_llmperf.engines.simulated.server_main --announce FILE [--set KEY=VALUE ...] [--log FILE]

It binds, writes its base URL into the announce file, loads, and answers until SIGTERM or SIGINT. The
log is the truth that a client can be checked against: one JSON line per request with the time each chunk was
written, in nanoseconds of the monotonic clock that all processes of a host share.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import select
import selectors
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from pytest_llmperf.engines.simulated.http import Connection
from pytest_llmperf.engines.simulated.model.script import AnswerScript, ScriptError, read_script
from pytest_llmperf.engines.simulated.model.settings import Simulation, SimulationError
from pytest_llmperf.engines.simulated.server import ScheduledServer

if TYPE_CHECKING:
    from collections.abc import Sequence


class _PreciseSelector(selectors.DefaultSelector):
    """Wakes up within microseconds, where epoll alone counts its timeout in whole milliseconds."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            # the kernel may be late by a thousandth of the timeout, so a long one is waited for in steps
            select.select([self.fileno()], [], [], min(timeout, 0.05))
            timeout = 0
        return super().select(timeout)


async def _serve(simulation: Simulation, script: AnswerScript, announce: Path, log: TextIO | None) -> NoReturn:
    began_ns = time.monotonic_ns()
    server = ScheduledServer(simulation, script, log)
    listener = await asyncio.get_running_loop().create_server(
        lambda: Connection(server.answer), "127.0.0.1", simulation.port, backlog=1024
    )
    port = listener.sockets[0].getsockname()[1]
    draft = announce.with_name(f"{announce.name}.{os.getpid()}")
    draft.write_text(f"http://127.0.0.1:{port}", encoding="utf-8")
    draft.replace(announce)
    await server.load_and_hold(began_ns)


def _read_arguments(argv: Sequence[str] | None) -> tuple[Simulation, AnswerScript, Path, Path | None]:
    parser = argparse.ArgumentParser(prog="simulated_server", description="A server that simulates an LLM engine.")
    parser.add_argument("--announce", type=Path, required=True, metavar="FILE", help="where to write the base URL")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting; repeatable")
    parser.add_argument("--log", type=Path, metavar="FILE", help="where to append what was really sent, and when")
    arguments = parser.parse_args(argv)
    try:
        settings: dict[str, Any] = dict(pair.split("=", 1) for pair in arguments.set)
    except ValueError:
        parser.error(f"--set takes KEY=VALUE, not {arguments.set}")
    try:
        simulation = Simulation.from_strings(settings)
        return simulation, read_script(simulation.script), arguments.announce, arguments.log
    except (SimulationError, ScriptError) as error:
        parser.error(str(error))


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the server until a signal ends it."""
    simulation, script, announce, log_path = _read_arguments(argv)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    log = log_path.open("a", encoding="utf-8") if log_path else None
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_PreciseSelector())) as runner:
        runner.run(_serve(simulation, script, announce, log))


if __name__ == "__main__":
    main()
