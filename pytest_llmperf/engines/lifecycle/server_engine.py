"""Engines that are servers: started, or found running, waited for, left to others or ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.api.engine import Engine, EngineError, EngineSpec, Progress
from pytest_llmperf.engines.lifecycle import lease, pid_files, shared_run
from pytest_llmperf.engines.lifecycle.http import http_status, served_models
from pytest_llmperf.engines.lifecycle.identity import Identity, program_file
from pytest_llmperf.engines.lifecycle.logs import last_line, tail
from pytest_llmperf.engines.lifecycle.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PROGRESS_SECONDS = 10.0
_STAGE_SECONDS = 0.5


class ServerEngine(Engine):
    """An engine that is a server process of ours: subclasses say what to run and how to see that it is ready."""

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self._process: ServerProcess | lease.KeptProcess | None = None
        self._directory: Path | None = None
        self._last_log = ""
        self._identity: Identity | None = None

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

    def _program(self) -> str:
        """What ``_command`` would run now, with its version: a kept engine is used only while this is the same."""
        return program_file(self.spec.binary) if self.spec.binary else ""

    def _stage(self) -> str:
        """What a starting server is doing, in a few words; empty where it does not say."""
        return ""

    def _explain(self) -> str:
        """Why a server that has ended did so, in its own words and one line; empty where it gave no reason."""
        return ""

    def _environ(self) -> dict[str, str]:
        environ = dict(os.environ)
        if self.spec.visible_devices is not None:
            environ["CUDA_VISIBLE_DEVICES"] = self.spec.visible_devices
        # CUDA counts the fastest GPU first, the driver and everybody's tools by PCI address: let there be one order.
        environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        return environ

    def start(self, progress: Progress) -> None:
        self.unloaded = False
        self._prepare(progress)
        pid_files.sweep(progress)
        if not (self.spec.keep or self.spec.run):
            self._start(progress)
            return
        # Noted now: what changes from here on is not what this server has loaded.
        self._identity = Identity.of(self.spec, ServerEngine._environ(self), self._program())
        with shared_run.starting(self.spec.run, self._identity.asked):
            if self._find_kept(self._identity, progress):
                if self.startup_time is None:
                    progress(f"{self.name}: {self.model} found running, kept from an earlier run")
                return
            self._start(progress)
            if self.spec.run:
                self._process = self._left_behind()

    def _start(self, progress: Progress) -> None:
        directory = self._directory = pid_files.new_folder(self.name)
        started = time.monotonic()
        try:
            self._process = ServerProcess(self.name, self._command(directory), self._environ(), directory)
            self._wait_ready(directory, started, progress)
            self.startup_time = time.monotonic() - started
            self._on_ready()
        except BaseException:
            self.stop()
            raise
        progress(f"{self.name}: {self.model} ready after {self.startup_time:.1f} s")

    def _find_kept(self, wanted: Identity, progress: Progress) -> bool:
        lock = shared_run.lock_of(self.spec.run) if self.spec.run else ""
        while (found := lease.find(wanted, progress, lock)) is not None:
            self._process, self._directory = found, found.log.parent
            self.base_url = found.kept["base_url"]
            ours = bool(lock) and found.kept["lock"] == lock
            self.startup_time, self.before = (found.kept["startup_time"], found.kept["before"]) if ours else (None, {})
            unfit = self._why_unfit(found.kept)
            if not unfit:
                return True
            self.stop()
            progress(f"{self.name}: the engine kept from an earlier run (pid {found.pid}) was stopped: {unfit}")
        return False

    def _why_unfit(self, kept: Mapping[str, Any]) -> str:
        """Why a running server cannot be used, in a few words; empty when it is as its run has left it."""
        if http_status(self._health_url()) != 200:
            return "it no longer answers"
        try:
            self._on_ready()
            served = served_models(self.base_url)
        except EngineError as error:
            return str(error)
        if self.version != kept["version"]:
            return f"it is version {kept['version']}, and {self.version} is asked for"
        return "" if self.model in served else f"it serves {', '.join(served) or 'no model'}, not {self.model}"

    def _health_url(self) -> str:
        return f"{self.base_url.removesuffix('/v1')}/health"

    def _wait_ready(self, directory: Path, started: float, progress: Progress) -> None:
        said, looked, stage, doing = started, started, "", ""
        progress(f"{self.name}: loading {self.model}")
        while True:
            self._fail_if_ended()
            self.base_url = self._find_url(directory) or ""
            if self.base_url and http_status(self._health_url()) == 200:
                return
            now = time.monotonic()
            if now - started > self.spec.startup_timeout:
                raise EngineError(
                    f"{self.name} was not ready after {self.spec.startup_timeout:g} s; "
                    "--llmperf-startup-timeout=SECONDS gives it more time",
                    self.log_tail(),
                )
            if now - looked >= _STAGE_SECONDS:
                looked, doing = now, self._stage()
            if now - said >= PROGRESS_SECONDS or _words(doing) != _words(stage):
                last = "" if doing else last_line(self.log_tail())
                progress(f"{self.name}: {doing or 'still loading'} after {now - started:.0f} s{last}")
                said, stage = now, doing
            time.sleep(0.05)

    def _fail_if_ended(self) -> None:
        assert self._process is not None
        status = self._process.status()
        if status is not None:
            words = self._explain()
            ended = f": {words}" if words else f" ended with {describe_status(status)} while starting"
            raise EngineError(f"{self.name}{ended}", self.log_tail())

    def stop(self) -> None:
        if self._process is not None:
            self._last_log = tail(self._process.log)
            self._process.stop()
            self._process = None
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def leave(self) -> None:
        fit = self._process is not None and self._identity is not None and not self.asleep and not self.gone()
        if not (fit or (self.spec.run and self._process is not None)):
            self.stop()
            return
        self._left_behind()
        self._process = self._directory = None

    def _left_behind(self) -> lease.KeptProcess:
        """The process, now one that others find."""
        assert self._process is not None
        assert self._identity is not None
        kept = lease.Kept(
            self._identity,
            self.name,
            self.model,
            self.version,
            self.base_url,
            self.spec.keep,
            lock=shared_run.lock_of(self.spec.run) if self.spec.run else "",
            startup_time=self.startup_time,
            before=self.before,
        )
        return self._process.leave(self.name, kept)

    @property
    def pids(self) -> tuple[int, ...]:
        if self._process is None or self._process.status() is not None:
            return ()
        return (self._process.pid,)

    def _unload(self) -> None:
        self.stop()
        self.unloaded = True

    def lapse(self) -> str:
        return "was left without its model; starting it again" if self.unloaded else super().lapse()

    def wake(self) -> None:
        """Starts a server again that was ended to unload its model."""
        if self.unloaded:
            self.revive(lambda _: None)
        else:
            super().wake()

    def gone(self) -> str:
        if self.unloaded:
            return ""
        if self._process is None:
            return f"{self.name} was stopped"
        status = self._process.status()
        return "" if status is None else f"{self.name} ended with {describe_status(status)}"

    def log_tail(self) -> str:
        return tail(self._process.log) if self._process else self._last_log


def describe_status(status: int) -> str:
    """``status 3``, or ``SIGKILL`` for 137, as a shell counts."""
    if status == lease.UNKNOWN_STATUS:
        return "a status that nobody saw"
    if status > 128:
        with contextlib.suppress(ValueError):
            return signal.Signals(status - 128).name
    return f"status {status}"


def _words(stage: str) -> str:
    """A stage without its progress."""
    return stage.partition(" (")[0]
