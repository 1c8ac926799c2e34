"""A server process of ours: started or found again, waited for, detached or ended."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_llmperf.engines.api.deployment import Deployment
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState, EngineStatus
from pytest_llmperf.engines.lifecycle import lease, logs, pid_files, shared_run
from pytest_llmperf.engines.lifecycle.http import get_http_status, list_served_models
from pytest_llmperf.engines.lifecycle.identity import Identity, describe_program_file
from pytest_llmperf.engines.lifecycle.logs import quote_last_line, read_tail, read_tail_with_cause
from pytest_llmperf.engines.lifecycle.server_process import ServerProcess
from pytest_llmperf.system.cuda_environ import DEVICE_ORDER, VISIBLE_DEVICES
from pytest_llmperf.system.files.faults import explain_os_error
from pytest_llmperf.system.files.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_llmperf.engines.api.spec import EngineSpec, Progress

PROGRESS_SECONDS = 10.0
_STAGE_SECONDS = 0.5


class ServerDeployment(Deployment):
    """A server that is started here. A subclass has to say what to run, and where it listens then.

    Attributes:
        environ_prefixes: what the names of environment variables begin with that the server reads, beside those of
            CUDA, PyTorch and the Hugging Face hub. A kept server is reused only while they are the same.
        startup_log: what it had logged when it became ready.
    """

    environ_prefixes: ClassVar[tuple[str, ...]] = ()
    ends_to_unload = True

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self.startup_log = ""
        self._process: ServerProcess | lease.KeptProcess | None = None
        self._directory: Path | None = None
        self._last_log = self._kept_log = ""
        self._log_start = 0
        self._identity: Identity | None = None

    # ------------------------------------------------------------------------------------- what a subclass may say

    @abstractmethod
    def command(self, folder: Path) -> list[str]:
        """The words of the command to run; ``folder`` is empty, writable and the server's own."""

    @abstractmethod
    def find_url(self, folder: Path) -> str | None:
        """The URL of its OpenAI API, ending in ``/v1``; None as long as that is unknown."""

    def prepare(self, progress: Progress) -> None:
        """Gets what the command needs, before it is run.

        Raises:
            EngineError: it cannot be had.
        """

    def environ(self, inherited: Mapping[str, str], folder: Path) -> dict[str, str]:
        """The environment of the server, from what it inherits from us."""
        return dict(inherited)

    def health_url(self) -> str:
        """What answers a GET with status 200 as soon as it is ready."""
        return f"{self.base_url.removesuffix('/v1')}/health"

    def read_version(self) -> str:
        """The version that a server states which is ready.

        Raises:
            EngineError: it is not the server that it should be.
        """
        return self.version

    def describe_program(self) -> str:
        """What ``command`` would run now, with its version: a kept server is reused only while this is the same."""
        return describe_program_file(self.spec.binary) if self.spec.binary else ""

    def describe_stage(self) -> str:
        """What a starting server is doing, in a few words; "" if it does not say."""
        return ""

    def explain_end(self) -> str:
        """Why a server that has ended did so, in its own words and one line; "" if it gave no reason."""
        return ""

    def find_failure(self) -> str:
        """Why a server whose process runs can no longer answer; "" while it can."""
        return ""

    # --------------------------------------------------------------------------------------------- start and end

    def start(self, progress: Progress) -> None:
        self.state = EngineState.STARTING
        self.prepare(progress)
        pid_files.clean_up(progress)
        inherited = _make_environ(self.spec)
        if not (self.spec.keep or self.spec.run):
            self._start(inherited, progress)
            return
        # Taken now: what changes from here on is not what this server has loaded.
        self._identity = Identity.of(self.spec, inherited, self.describe_program(), self.environ_prefixes)
        with shared_run.start_once(self.spec.run, self._identity.asked):
            if self._find_kept(self._identity, progress):
                if self.startup_time is None:
                    progress(f"{self.name}: {self.model} found running, kept from an earlier run")
                return
            self._start(inherited, progress)
            if self.spec.run:
                self._process = self._hand_over()

    def _start(self, inherited: Mapping[str, str], progress: Progress) -> None:
        self._kept_log, self._log_start = "", 0
        started = time.monotonic()
        try:
            folder = self._directory = pid_files.create_folder(self.name)
            command, environ = self.command(folder), self.environ(inherited, folder)
            self._process = ServerProcess(self.name, command, environ, folder)
            self._wait_ready(folder, started, progress)
            self.startup_time = time.monotonic() - started
            self._read_facts()
        except EngineError as error:
            error.log_tail, error.log_path = self.log_tail(), self.keep_log()
            self.stop()
            raise
        except OSError as error:
            self.stop()
            raise EngineError(f"{self.name} cannot be started: {explain_os_error(error)}") from error
        except BaseException:
            self.stop()
            raise
        progress(f"{self.name}: {f'{self.model} ' if self.model else ''}ready after {self.startup_time:.1f} s")

    def _read_facts(self) -> None:
        """Reads what only a server that is ready can tell."""
        self.startup_log, self._log_start = self.read_log(), self.log_size
        self.version = self.read_version()
        self.state = EngineState.READY

    def _find_kept(self, wanted: Identity, progress: Progress) -> bool:
        """Takes over a kept server that fits; those that do not are stopped."""
        lock = shared_run.find_lock(self.spec.run) if self.spec.run else ""
        while True:
            found = lease.find(wanted, progress, lock)
            if found is None:
                return False
            self._take_over(found, ours=bool(lock) and found.kept["lock"] == lock)
            unfit = self.explain_unfit(found.kept)
            if not unfit:
                return True
            self.stop()
            self.state = EngineState.STARTING
            progress(f"{self.name}: the engine kept from an earlier run (pid {found.pid}) was stopped: {unfit}")

    def _take_over(self, found: lease.KeptProcess, *, ours: bool) -> None:
        """Makes a kept process this one's. Only of one of ``ours``, of this run, is the start known."""
        self._process, self._directory = found, found.log.parent
        self.base_url = found.kept["base_url"]
        self.startup_time, self.before = (found.kept["startup_time"], found.kept["before"]) if ours else (None, {})

    def explain_unfit(self, kept: Mapping[str, Any]) -> str:
        """Why a kept server cannot be used, in a few words; "" if it is as its run has left it."""
        if get_http_status(self.health_url()) != 200:
            return "it no longer answers"
        try:
            self._read_facts()
            served = list_served_models(self.base_url)
        except EngineError as error:
            return str(error)
        if self.version != kept["version"]:
            return f"it is version {kept['version']}, and {self.version} is asked for"
        return "" if self.model in served else f"it serves {', '.join(served) or 'no model'}, not {self.model}"

    def _wait_ready(self, folder: Path, started: float, progress: Progress) -> None:
        said, looked, stage, doing = started, started, "", ""
        still = "still loading" if self.model else "still starting"
        progress(f"{self.name}: loading {self.model}" if self.model else f"{self.name}: starting")
        while True:
            self._fail_if_ended()
            self.base_url = self.find_url(folder) or ""
            if self.base_url and get_http_status(self.health_url()) == 200:
                return
            now = time.monotonic()
            if now - started > self.spec.startup_timeout:
                raise EngineError(
                    f"{self.name} was not ready after {self.spec.startup_timeout:g} s; "
                    "--llmperf-startup-timeout=SECONDS gives it more time"
                )
            if now - looked >= _STAGE_SECONDS:
                looked, doing = now, self.describe_stage()
            if now - said >= PROGRESS_SECONDS or _words(doing) != _words(stage):
                last = "" if doing or self._process is None else quote_last_line(read_tail(self._process.log))
                progress(f"{self.name}: {doing or still} after {now - started:.0f} s{last}")
                said, stage = now, doing
            time.sleep(0.05)

    def _fail_if_ended(self) -> None:
        assert self._process is not None
        status = self._process.status()
        if status is not None:
            words = self.explain_end()
            ended = f": {words}" if words else f" ended with {describe_status(status)} while starting"
            raise EngineError(f"{self.name}{ended}")

    def stop(self) -> None:
        self.state = EngineState.ENDED
        if self._process is not None:
            self._last_log = self.log_tail()
            self._process.stop()
            self._process = None
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def detach(self) -> None:
        if self._process is None or not (self.spec.run or self._may_be_kept()):
            self.stop()
            return
        self._hand_over()
        self._process = self._directory = None
        self.state = EngineState.ENDED

    def _may_be_kept(self) -> bool:
        return self._identity is not None and self.read_status().state is EngineState.READY

    def _hand_over(self) -> lease.KeptProcess:
        """The process, now one that others find."""
        assert self._process is not None
        assert self._identity is not None
        kept = lease.Kept(
            self._identity,
            f"{self.spec.variant}={self.spec.engine}" if self.spec.variant else self.spec.engine,
            self.model,
            self.version,
            self.base_url,
            self.spec.keep,
            lock=shared_run.find_lock(self.spec.run) if self.spec.run else "",
            startup_time=self.startup_time,
            before=self.before,
        )
        return self._process.detach(self.name, kept)

    def read_warmup(self, model: str = "") -> float | None:
        """As :meth:`Deployment.read_warmup`; of a server of several models, that of one."""
        note = self._find_warmup_note(model)
        try:
            return float(note.read_text(encoding="utf-8")) if note is not None else None
        except (OSError, ValueError):
            return None  # it was not warmed up, or is warmed up again for want of a note that can be read

    def note_warmup(self, seconds: float, model: str = "") -> None:
        """As :meth:`Deployment.note_warmup`; of a server of several models, that of one."""
        note = self._find_warmup_note(model)
        if note is not None:
            with contextlib.suppress(OSError):  # it has just ended, or there is no room: it is warmed up again then
                write_whole(note, str(seconds))

    def _find_warmup_note(self, model: str) -> Path | None:
        """In the folder of the process, which lives as long as it does; None if it does not run."""
        if self._process is None:
            return None
        return self._process.log.with_name(f"warmup {hashlib.sha256(model.encode()).hexdigest()[:16]}")

    def unload(self) -> None:
        """Ends the server: that frees the memory of any model."""
        self.stop()
        self.state = EngineState.UNLOADED

    # ------------------------------------------------------------------------------------------------- what it is doing

    @property
    def pids(self) -> tuple[int, ...]:
        if self._process is None or self._process.status() is not None:
            return ()
        return (self._process.pid,)

    def read_status(self) -> EngineStatus:
        if self.state is EngineState.UNLOADED and self._process is None:
            return EngineStatus(EngineState.UNLOADED, f"{self.name} was left without its model")
        if self._process is None:
            return EngineStatus(EngineState.ENDED, f"{self.name} was stopped")
        status = self._process.status()
        if status is not None:
            return EngineStatus(EngineState.ENDED, self._add_cause(f"{self.name} ended with {describe_status(status)}"))
        if failure := self.find_failure():
            return EngineStatus(EngineState.ENDED, self._add_cause(failure))
        return EngineStatus(self.state, f"{self.name} was left asleep" if self.state is EngineState.ASLEEP else "")

    def _add_cause(self, what: str) -> str:
        words = self.explain_end()
        return f"{what}: {words}" if words else what

    def log_tail(self) -> str:
        """The last lines of its log, after those with the cause of its end if they are others; also after its end."""
        if self._process is None:
            return self._last_log
        return read_tail_with_cause(self._process.log, self.explain_end())

    def keep_log(self) -> str:
        if self._process is not None:
            self._kept_log = logs.keep_log(self._process.log, self.name, self._process.pid)
        return self._kept_log

    def read_new_log(self) -> str:
        """What it has logged since it became ready; of one that is starting all of it."""
        return self.read_log(self._log_start)

    def read_log(self, start: int = 0) -> str:
        """What it has logged beyond the first ``start`` bytes; "" if it does not run."""
        if self._process is None:
            return ""
        with self._process.log.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")

    @property
    def log_size(self) -> int:
        """Bytes of its log; 0 if it does not run."""
        return self._process.log.stat().st_size if self._process else 0


def _make_environ(spec: EngineSpec) -> dict[str, str]:
    environ = dict(os.environ)
    if spec.visible_devices is not None:
        environ[VISIBLE_DEVICES] = spec.visible_devices
    # CUDA counts the fastest GPU first, the driver and most tools by PCI address: let there be one order.
    environ.setdefault(DEVICE_ORDER, "PCI_BUS_ID")
    return environ


def describe_status(status: int) -> str:
    """``status 3``, or ``SIGKILL`` for 137, as a shell counts."""
    if status == lease.UNKNOWN_STATUS:
        return "an unknown exit status"
    if status > 128:
        with contextlib.suppress(ValueError):
            return signal.Signals(status - 128).name
    return f"status {status}"


def _words(stage: str) -> str:
    """A stage without its progress."""
    return stage.partition(" (")[0]
