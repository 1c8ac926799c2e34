"""The processes that vLLM starts from this one: found, watched and ended."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

_LOOK_SECONDS = 0.25


class Children:
    """The children of this process that came since ``before``, a set of those that were there."""

    def __init__(self, before: Iterable[psutil.Process]) -> None:
        self.processes = tuple(sorted(_children() - set(before), key=lambda child: child.pid))
        self._over = threading.Event()

    @staticmethod
    def list_present() -> set[psutil.Process]:
        """Those that are there now."""
        return _children()

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(process.pid for process in self.processes)

    def explain_end(self) -> str:
        """Which of them has ended, in a few words; "" while all run."""
        ended = [process.pid for process in self.processes if not _runs(process)]
        return f"vllm has lost its engine core (pid {ended[0]})" if ended else ""

    def watch(self, engine_core: Any) -> None:
        """Ends the wait for output of ``engine_core`` with an error when one of them ends; vLLM would wait for ever."""
        outputs = getattr(engine_core, "outputs_queue", None)
        if self.processes and outputs is not None:
            threading.Thread(target=self._watch, args=(outputs,), name="llmperf-vllm-watch", daemon=True).start()

    def _watch(self, outputs: Any) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            reason = self.explain_end()
            if reason:
                outputs.put(RuntimeError(reason))
                return

    def stop(self, seconds: float) -> None:
        """Gives them so long to end by themselves, and kills what is left of their trees. May be called twice."""
        self._over.set()
        trees = [process for child in self.processes for process in _tree(child)]
        _, alive = psutil.wait_procs(trees, timeout=seconds if trees else 0)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive)


def _children() -> set[psutil.Process]:
    """All but the helper that removes what ``multiprocessing`` leaves behind, which stays for later."""
    found = set()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if not any("resource_tracker" in word for word in child.cmdline()):
                found.add(child)
    return found


def _tree(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
