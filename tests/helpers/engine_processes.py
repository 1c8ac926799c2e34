"""Server scripts for the tests of the engines' life cycle, and ways to wait for processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_llmperf.engines.api.engine import Engine, EngineParts
from pytest_llmperf.engines.api.insight import Insight
from pytest_llmperf.engines.lifecycle.http import read_announced_url
from pytest_llmperf.engines.lifecycle.server_deployment import ServerDeployment
from pytest_llmperf.traffic.client.dialect import OPENAI
from tests.helpers.waiting import read_line, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_llmperf.engines.api.spec import EngineSpec

# Ends on SIGTERM, but has a child that does not; the child's pid is in the file "child" once it is deaf to it.
STUBBORN = """
import os, signal, sys
folder = sys.argv[-1]
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(folder + "/child.tmp", "w") as file:
        file.write(str(os.getpid()))
    os.rename(folder + "/child.tmp", folder + "/child")
while True:
    signal.pause()
"""

# Answers 200 to everything; exits with status 9 when asked for /crash.
ANSWERING = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/crash":
            os._exit(9)
        self.send_response(200)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
with open(sys.argv[-1] + "/announce.tmp", "w") as file:
    file.write(f"http://127.0.0.1:{server.server_port}")
os.rename(sys.argv[-1] + "/announce.tmp", sys.argv[-1] + "/announce")
print("listening", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
server.serve_forever()
"""

# Stands for pytest: starts a server under a warden, says its pid, and its status for every line it reads.
PARENT = """
import os, signal, sys
from pathlib import Path
from pytest_llmperf.engines.lifecycle import server_process
server_process.STOP_GRACE_SECONDS = 0.2
signal.signal(signal.SIGINT, lambda *_: print("interrupted", flush=True))
folder, script = sys.argv[1:]
server = server_process.ServerProcess("fake", [sys.executable, "-c", script, folder], os.environ, Path(folder))
print(server.pid, flush=True)
for line in sys.stdin:
    print(server.status(), flush=True)
server.stop()
"""


class ScriptedDeployment(ServerDeployment):
    """Runs a Python script as its server; the script gets its folder as the last argument."""

    script = ANSWERING

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self.version = "1"
        self.directories: list[Path] = []

    def command(self, folder: Path) -> list[str]:
        self.directories.append(folder)
        return [sys.executable, "-c", self.script, str(folder)]

    def find_url(self, folder: Path) -> str | None:
        return read_announced_url(folder / "announce")


class ScriptedEngine(Engine):
    """Every spec will do."""

    name = "scripted"

    @classmethod
    def check(cls, spec: EngineSpec) -> None:
        pass

    @classmethod
    def compose(cls, spec: EngineSpec) -> EngineParts:
        return EngineParts(ScriptedDeployment(spec), OPENAI, Insight())


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def child_of(folder: Path) -> int:
    """The pid of the deaf child of a STUBBORN server."""
    until((folder / "child").exists)
    return int((folder / "child").read_text(encoding="utf-8"))


@contextlib.contextmanager
def parent_of_server(folder: Path, script: str = STUBBORN) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that stands for pytest, leader of its own group, and the pid of the server that it has started."""
    environ = {**os.environ, "TMPDIR": tempfile.gettempdir()}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(folder), script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
        start_new_session=True,
    ) as parent:
        server = int(read_line(parent.stdout))
        try:
            yield parent, server
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server, signal.SIGKILL)
            parent.kill()


@pytest.fixture
def own_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for run directories and pid files that no other pytest run uses."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder
