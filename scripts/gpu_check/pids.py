"""Whether the driver lists a process of ours so that it can be told from others, and what it says it holds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pytest_llmperf.telemetry.records.ring import MATCHED
from pytest_llmperf.telemetry.records.source import SourceError
from pytest_llmperf.telemetry.sources.host import process_tree
from pytest_llmperf.telemetry.sources.pid_namespaces import ProcessMatcher, find_host_proc
from scripts.gpu_check.figures import mib

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.device_trace import DeviceProcess
    from pytest_llmperf.measurement.memory_trace import Attribution
    from scripts.gpu_check.figures import Figures
    from scripts.gpu_check.gpu import Gpu


class Found(NamedTuple):
    """How a process was found in the driver's list, in a sentence; ``attribution`` is None where it was not."""

    attribution: Attribution | None
    sentence: str


def find(processes: Sequence[DeviceProcess], pid: int) -> Found:
    """Which of the listed processes is the one with this pid, as we see it."""
    if not processes:
        return Found(None, "the list is empty although a process of ours computes: pids cannot be matched")
    match = ProcessMatcher(os.getpid(), host=find_host_proc()).match(
        [p.pid for p in processes], {pid: process_tree(pid)}
    )
    held = [process for process in processes if process.pid in match.owners]
    if not held:
        unseen = [p for p in processes if p.pid not in match.visible]
        where = f"; {len(unseen)} of another pid namespace, perhaps ours" if unseen else ""
        return Found(None, f"not among the {len(processes)} listed{where}: pids cannot be matched")
    sizes = [process.used_bytes for process in held if process.used_bytes is not None]
    said = mib(sum(sizes)) if len(sizes) == len(held) else "an unknown size"
    own = match.owners[held[0].pid][1] == MATCHED
    how = "under its own pid" if own else f"under the host's pid {held[0].pid}, found through NSpid"
    if len(sizes) < len(held):
        return Found(None, f"listed {how}, with {said}")
    return Found("pids" if own else "nspid", f"listed {how}, with {said}")


def report(gpu: Gpu, pid: int, figures: Figures, what: str = "a process of ours") -> None:
    try:
        figures.add(what, find(gpu.processes(), pid).sentence)
    except SourceError as error:
        figures.add(what, str(error))
