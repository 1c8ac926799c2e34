"""In what two runs differ, for people: ``NVIDIA L4 / NVIDIA A10G``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_llmperf.baselines.stored_run import StoredRun

# What must be equal, in the order in which a difference is worth telling.
_IDENTITY = ("name", "version_class", "model", "digest", "quantisation")
_BESIDE_ENGINE = ("version",)
_BESIDE_SESSION = ("driver", "cuda", "kernel", "python", "host", "pytest_llmperf")


def describe_run(run: StoredRun) -> str:
    """``2026-11-20, 0123abcd``: when a run was reported, and its commit if that is known."""
    commit = f", {run.commit[:8]}" if run.commit else ""
    return f"{run.created:%Y-%m-%d}{commit}"


def describe_engine_differences(test: Mapping[str, Any], runs: Iterable[StoredRun]) -> str:
    """What keeps the numbers of a test from being compared with the run that is most like it: here / there."""
    here = test["measurement"].get("engine") or {}
    found = [list(_find_engine_differences(here, run.engine)) for run in runs]
    fewest = min((each for each in found if each), key=len, default=[])
    return "; ".join(fewest) or "its engines are others"


def _find_engine_differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[str]:
    one, other = _name_devices(here), _name_devices(there)
    if one != other:
        yield f"{one} / {other}"
    for field in _IDENTITY:
        if here.get(field) != there.get(field):
            yield f"{field.replace('_', ' ')} {_show(here.get(field))} / {_show(there.get(field))}"
    mine, theirs = here.get("arguments") or {}, there.get("arguments") or {}
    for key in sorted({*mine, *theirs}):
        if mine.get(key) != theirs.get(key):
            yield f"{key} {_show(mine.get(key))} / {_show(theirs.get(key))}"


def _name_devices(engine: Mapping[str, Any]) -> str:
    names = sorted(str(device["name"]) for device in engine.get("devices") or ())
    counted = {name: names.count(name) for name in names}
    return " + ".join(f"{count} × {name}" if count > 1 else name for name, count in counted.items()) or "no device"


def _show(value: object) -> str:
    """Digests are told apart by their beginnings."""
    text = "none" if value in (None, "") else str(value)
    return text[:12] if len(text) >= 32 and not set(text) - set("0123456789abcdef") else text


def list_notes(engine: Mapping[str, Any], session: Mapping[str, Any], run: StoredRun) -> list[str]:
    """What else differs from a run, and does not keep its numbers from being compared: ``driver 550 / 560``."""
    pairs = [(field, engine.get(field), run.engine.get(field)) for field in _BESIDE_ENGINE]
    pairs += [(field, session.get(field), run.session.get(field)) for field in _BESIDE_SESSION]
    pairs.append(("commit", _read_commit(session), run.commit[:8]))
    return [f"{field} {_show(here)} / {_show(there)}" for field, here, there in pairs if here and here != there]


def _read_commit(session: Mapping[str, Any]) -> str:
    return str((session.get("git") or {}).get("commit") or "")[:8]
