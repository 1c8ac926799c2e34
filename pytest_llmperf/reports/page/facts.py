"""Where the numbers come from: the engines side by side, the host and the run."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import SECONDS, format_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.reports.result import TestResult

_SESSION = (
    ("started", "started"),
    ("commit", "commit"),
    ("command_line", "command line"),
    ("host", "host"),
    ("platform", "platform"),
    ("kernel", "kernel"),
    ("driver", "driver"),
    ("cuda", "CUDA"),
    ("python", "Python"),
    ("pytest", "pytest"),
    ("pytest_llmperf", "pytest-llmperf"),
    ("strict", "strict"),
    ("session_noise", "noise between sessions"),
    ("sample_hz", "memory samples per second"),
    ("calls_outside_tests", "calls outside of tests"),
)


@dataclass(frozen=True)
class EngineTable:
    """The engines of a run, one a column: ``rows`` hold a name, a cell for each, and whether the cells differ."""

    labels: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...], bool], ...]


def describe_engines(results: Sequence[TestResult], order: Sequence[str] = ()) -> EngineTable:
    """The engines in the ``order`` of these labels, others as tests met them.

    Those with one label and one fingerprint are one.
    """
    engines: dict[tuple[str, str], Mapping[str, Any]] = {}
    for result in results:
        for part in result.measurement.get("parts") or [result.measurement]:
            if engine := part.get("engine"):
                engines.setdefault((str(engine.get("label")), str(engine.get("fingerprint"))), engine)
    place = {label: at for at, label in enumerate(order)}
    engines = dict(sorted(engines.items(), key=lambda item: place.get(item[0][0], len(place))))
    columns = [dict(_describe_engine(engine)) for engine in engines.values()]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = []
    for name in names:
        cells = tuple(column.get(name, "–") for column in columns)
        rows.append((name, cells, len(set(cells)) > 1))
    return EngineTable(tuple(label for label, _ in engines), tuple(rows))


def _describe_engine(engine: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "engine", f"{engine['name']} {engine['version']}".strip()
    yield "model", str(engine["model"])
    for key in ("quantisation", "digest"):
        if engine.get(key):
            yield key, str(engine[key])
    devices = [str(device["name"]) for device in engine.get("devices", ())]
    counts = {name: devices.count(name) for name in devices}
    yield "device", " + ".join(f"{n} × {name}" if n > 1 else name for name, n in counts.items()) or "unknown"
    startup, warmup = engine.get("startup_seconds"), engine.get("warmup_seconds")
    yield "start-up", "already running" if startup is None else format_value(startup, SECONDS)
    if warmup is not None:
        yield "warm-up", format_value(warmup, SECONDS)
    for name, value in engine.get("arguments", {}).items():
        yield name, str(value)
    yield "fingerprint", str(engine.get("fingerprint") or "–")


def describe_session(session: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each fact of the run; ``not known`` where there is none."""
    facts = {**session, "commit": _describe_commit(session.get("git"))}
    return [(name, _format(key, facts[key])) for key, name in _SESSION if key in facts]


def _describe_commit(git: Mapping[str, Any] | None) -> str | None:
    if not git:
        return None
    branch = f" on {git['branch']}" if git.get("branch") else ""
    dirty = ", with changes that are not committed" if git.get("dirty") else ""
    return f"{git['commit']}{branch}{dirty}"


def _format(key: str, value: Any) -> str:
    match value:
        case None:
            return "not known"
        case bool():
            return "yes" if value else "no"
        case list() | tuple() if key == "command_line":
            return shlex.join(map(str, value))
        case float() if key == "session_noise":
            return f"{100 * value:g} %"
        case float():
            return f"{value:g}"
    return str(value)
