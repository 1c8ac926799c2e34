"""Servers as child processes: started in a session of their own, waited for, and ended for sure."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_llmperf.engines import leftovers
from pytest_llmperf.engines.base import Engine, EngineError, EngineMemory, EngineSpec, Progress

PROGRESS_SECONDS = 10.0
STOP_GRACE_SECONDS = 5.0
_LOG_TAIL_LINES = 20
_WARDEN = Path(__file__).with_name("warden.py")
# A proxy set for the outside world must not stand between us and a server on this host.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ServerProcess:
    """One server under its warden. Its output goes to ``log``; ``directory`` is its own and vanishes with it."""

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str], directory: Path) -> None:
        self.log = directory / f"{name}.log"
        self._directory = directory
        with self.log.open("wb") as log:
            self._warden = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_WARDEN), str(STOP_GRACE_SECONDS), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=dict(environ),
                start_new_session=True,
            )
        assert self._warden.stdout is not None
        first_line = self._warden.stdout.readline()
        self.pid = int(first_line) if first_line.strip() else None
        self._note = leftovers.note(name, self._warden.pid, self.pid)

    def status(self) -> int | None:
        """The exit status once the server has ended (128 + signal for a signal), None while it runs."""
        return self._warden.poll()

    def log_tail(self, lines: int = _LOG_TAIL_LINES) -> str:
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def stop(self) -> None:
        """Ends the server and all it started: terminate, wait, kill. May be called twice."""
        for pipe in (self._warden.stdin, self._warden.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._warden.wait(STOP_GRACE_SECONDS + 5)
        except subprocess.TimeoutExpired:
            self._warden.kill()
            self._warden.wait()
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        self._note.unlink(missing_ok=True)
        shutil.rmtree(self._directory, ignore_errors=True)


class ServerEngine(Engine):
    """An engine that is a server process of ours: subclasses say what to run and how to see that it is ready."""

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self._process: ServerProcess | None = None
        self._last_log = ""

    @abstractmethod
    def _command(self, directory: Path) -> list[str]:
        """What to run; ``directory`` is empty, writable and the server's own."""

    @abstractmethod
    def _find_url(self, directory: Path) -> str | None:
        """Where the server listens, None as long as that is unknown."""

    @abstractmethod
    def _on_ready(self) -> None:
        """Reads what only a running server can tell (version, model)."""

    def _prepare(self, progress: Progress) -> None:
        """Gets what the command needs, before it is run."""

    def _environ(self) -> dict[str, str]:
        environ = dict(os.environ)
        if self.spec.visible_devices is not None:
            environ["CUDA_VISIBLE_DEVICES"] = self.spec.visible_devices
        return environ

    def start(self, progress: Progress) -> None:
        self._prepare(progress)
        leftovers.sweep(progress)
        directory = Path(tempfile.mkdtemp(prefix=f"llmperf-{self.name}-"))
        started = time.monotonic()
        self._process = ServerProcess(self.name, self._command(directory), self._environ(), directory)
        try:
            self._wait_ready(directory, started, progress)
            self.load_time = time.monotonic() - started
            self._on_ready()
        except BaseException:
            self.stop()
            raise
        progress(f"{self.name}: {self.model} ready after {self.load_time:.1f} s")

    def _wait_ready(self, directory: Path, started: float, progress: Progress) -> None:
        said = started
        progress(f"{self.name}: loading {self.model}")
        while True:
            self._fail_if_ended()
            self.base_url = self._find_url(directory) or ""
            if self.base_url and http_status(f"{self.base_url.removesuffix('/v1')}/health") == 200:
                return
            now = time.monotonic()
            if now - started > self.spec.startup_timeout:
                raise EngineError(
                    f"{self.name} was not ready after {self.spec.startup_timeout:g} s; "
                    "--llmperf-startup-timeout=SECONDS gives it more time",
                    self.log_tail(),
                )
            if now - said >= PROGRESS_SECONDS:
                progress(f"{self.name}: still loading after {now - started:.0f} s{_last_line(self.log_tail())}")
                said = now
            time.sleep(0.05)

    def _fail_if_ended(self) -> None:
        assert self._process is not None
        status = self._process.status()
        if status is not None:
            raise EngineError(f"{self.name} ended with {describe_status(status)} while starting", self.log_tail())

    def stop(self) -> None:
        if self._process is not None:
            self._last_log = self._process.log_tail()
            self._process.stop()
            self._process = None

    @property
    def pids(self) -> tuple[int, ...]:
        if self._process is None or self._process.pid is None or self._process.status() is not None:
            return ()
        return (self._process.pid,)

    def gone(self) -> str:
        if self._process is None:
            return f"{self.name} was stopped"
        status = self._process.status()
        return "" if status is None else f"{self.name} ended with {describe_status(status)}"

    def log_tail(self) -> str:
        return self._process.log_tail() if self._process else self._last_log

    def memory(self) -> EngineMemory:
        readings = {name: reading.value for name, reading in self.readings().items()}
        weights, reserved = readings.get("memory.weights"), readings.get("memory.kv_reserved")
        return EngineMemory(
            resident=super().memory().resident,
            weights=None if weights is None else int(weights),
            kv_reserved=None if reserved is None else int(reserved),
        )


def describe_status(status: int) -> str:
    """``status 3``, or ``SIGKILL`` for 137."""
    if status > 128:
        with contextlib.suppress(ValueError):
            return signal.Signals(status - 128).name
    return f"status {status}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f" ({lines[-1][:100]})" if lines else ""


def http_status(url: str, timeout: float = 2.0) -> int | None:
    """The status of a GET; None while nobody answers."""
    try:
        with _OPENER.open(url, timeout=timeout) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return None


def http_get(url: str, *, api_key: str = "", timeout: float = 5.0) -> bytes:
    """The body of a GET.

    Raises:
        OSError: nobody answers, or with an error status (``urllib.error.HTTPError``).
    """
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {api_key}"} if api_key else {})
    with _OPENER.open(request, timeout=timeout) as response:
        body: bytes = response.read()
        return body


def free_port() -> int:
    """A loopback port that was free a moment ago, for servers that cannot choose one and say which."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def check_port(text: str, setting: str) -> int:
    """The port asked for, once it is known to be free.

    Raises:
        EngineError: not a port, or somebody listens on it.
    """
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise EngineError(f"{setting}={text!r} is not a port: give 0 (any free one) to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(text)))
        except OSError as error:
            raise EngineError(
                f"{setting}={text}: the port cannot be used ({error.strerror}); leave it out to get a free one"
            ) from None
    return int(text)


def announced_url(path: Path) -> str | None:
    """The address a server of ours wrote to its announce file."""
    try:
        return f"{path.read_text().strip()}/v1"
    except FileNotFoundError:
        return None


