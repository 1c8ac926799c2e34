"""pytest runs against a server of another host, whose GPU only a DCGM exporter tells of."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from tests.gpu.gpu_runs import ROOT
from tests.helpers.dcgm_exporter import Exporter, Gpu, full_fields
from tests.helpers.forwarder import forwarder
from tests.helpers.metrics_server import serving
from tests.helpers.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helpers.metrics_server import MetricsServer

WATTS = 300
USED_MIB = 21_000


@contextmanager
def remote_server(folder: Path) -> Iterator[str]:
    """The address at which a tunnel to an OpenAI API listens."""
    announce = folder / "announce"
    command = [sys.executable, "-m", "pytest_llmperf.engines.simulated.server_main", "--announce", str(announce)]
    with subprocess.Popen([*command, "--set", "ttft=2 ms", "--set", "tpot=1 ms"], cwd=ROOT) as server:
        try:
            until(
                lambda: (
                    server.poll() is not None or (announce.exists() and announce.read_text(encoding="utf-8").strip())
                )
            )
            assert server.poll() is None, "the simulated server ended while it started"
            url = announce.read_text(encoding="utf-8").strip()
            with forwarder(int(url.rpartition(":")[2])) as port:
                yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


class LiveExporter:
    """An exporter in real time: a GPU that draws 300 W, and holds as many MiB as the file ``used`` in the folder says.

    Once there is a file ``down``, its page is empty.
    """

    def __init__(self, folder: Path, interval_ms: int, host: str = "node-a", model: str = "NVIDIA H200") -> None:
        self._used, self._down = folder / "used", folder / "down"
        self._gpu = Gpu(0, full_fields(), host=host, model=model)
        self._exporter = Exporter(self._gpu, interval_ms=interval_ms)

    def page(self) -> str:
        now_ms = time.monotonic_ns() // 1_000_000
        self._exporter.now_ms = now_ms
        fields = {
            "FB_USED": int(self._used.read_text(encoding="utf-8") or USED_MIB),
            "TOTAL_ENERGY_CONSUMPTION": WATTS * now_ms,
        }
        self._gpu.fields.update(fields, POWER_USAGE=WATTS)
        return "" if self._down.exists() else self._exporter.page()


class Hosts:
    """Makes servers and exporters that end with the test."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._stack = stack
        self._folder = folder
        (folder / "used").write_text(str(USED_MIB), encoding="utf-8")
        self.server = stack.enter_context(remote_server(folder))

    def exporter(self, interval_ms: int, host: str = "node-a") -> MetricsServer:
        return self._stack.enter_context(serving(LiveExporter(self._folder, interval_ms, host).page))
