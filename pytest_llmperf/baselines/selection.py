"""Picks runs, tests and metrics by what users type."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.baselines.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from pytest_llmperf.baselines.store import Store
    from pytest_llmperf.baselines.stored_run import StoredRun

_SHOWN = 5


@dataclass(frozen=True)
class RunFile:
    """Where a stored run lies."""

    name: str
    fingerprint: str
    path: Path


def find_run_file(store: Store, text: str) -> RunFile:
    """The run that a text means: its identity, the beginning of it, or the path of its file. Nothing is read.

    Raises:
        StoreError: there is no such run, or more than one.
    """
    wanted = Path(text).name.removesuffix(".json")
    found = [
        RunFile(name, fingerprint, path)
        for name, fingerprint in store.folders()
        for path in store.list_files(name, fingerprint)
        if wanted and path.stem.startswith(wanted)
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        known = ", ".join(store.names()) or "none at all"
        raise StoreError(
            f"{store.path}: there is no run {text!r}, and no name; store list NAME lists the runs of {known}"
        )
    some = ", ".join(run.path.stem for run in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise StoreError(f"{store.path}: {text!r} begins the names of {len(found)} runs: {some}{more}")


def check_is_stored(store: Store, name: str) -> None:
    """Checks that there are runs of a name.

    Raises:
        StoreError: there are none; the message says which names there are.
    """
    known = store.names()
    if name not in known:
        raise StoreError(f"{store.path}: no run is stored as {name!r}; there is {', '.join(known) or 'none at all'}")


def find_readings(run: StoredRun, test_glob: str = "*", metric_globs: Sequence[str] = ("*",)) -> dict[str, list[str]]:
    """The names of the readings that have a value, by test; tests that match but have none are there too."""
    return {
        nodeid: [
            name
            for name, reading in test["measurement"]["readings"].items()
            if reading.get("value") is not None and any(matches(name, glob) for glob in metric_globs)
        ]
        for nodeid, test in run.tests.items()
        if matches(nodeid, test_glob)
    }


def matches(text: str, glob: str) -> bool:
    """Whether a glob matches; a text matches itself, even one with ``[...]``."""
    return text == glob or fnmatchcase(text, glob)


def find_reading(asked: str, known: Iterable[str]) -> str:
    """The full name of a reading: ``latency.ttft_p50`` for ``ttft_p50``.

    Raises:
        StoreError: no reading has this name, or several have; the message names some.
    """
    names = sorted(set(known))
    if asked in names:
        return asked
    found = [name for name in names if name.partition(".")[2] == asked]
    if len(found) == 1:
        return found[0]
    near = found or [name for name in names if asked in name] or get_close_matches(asked, names, _SHOWN, 0.4) or names
    raise StoreError(f"no stored run has a metric {asked!r}; there is {', '.join(near[:_SHOWN]) or 'none at all'}")


def find_metric(reading: str, metrics: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    """The metric and the statistic of a reading: ``latency.ttft`` and ``p50`` for ``latency.ttft_p50``."""
    if reading in metrics:
        return reading, ""
    found = [name for name in metrics if reading.startswith(f"{name}_")]
    name = max(found, key=len, default=reading)
    return name, reading[len(name) + 1 :]
