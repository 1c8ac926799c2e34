"""What differs between two reports beside their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_IDENTITY = ("name", "version_class", "model", "digest", "quantisation", "arguments")
"""What an engine must have in common for numbers to be comparable, beside the devices."""

_SESSION = ("host", "kernel", "driver", "cuda", "python", "pytest_llmperf", "platform")
_UNKNOWN = "unknown"


def find_incomparable(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Why the numbers of a test in two reports are not comparable: ``NVIDIA L4 / NVIDIA A10G``; empty if they are.

    Args:
        old, new: the ``measurement`` of the test in each report.
    """
    found = []
    one, other = old.get("engine") or {}, new.get("engine") or {}
    if one.get("fingerprint") != other.get("fingerprint"):
        found = [text for text in _compare_engines(one, other) if text] or ["fingerprints differ"]
    parts = [{part["label"]: part for part in side.get("parts") or ()} for side in (old, new)]
    for label in dict.fromkeys([*parts[0], *parts[1]]):
        if label not in parts[0] or label not in parts[1]:
            found.append(f"engine {label} in one of them only")
        else:
            found += [f"{label}: {text}" for text in find_incomparable(parts[0][label], parts[1][label])]
    if _read_workload(old) != _read_workload(new):
        found.append("what the test asked for differs")
    return found


def _compare_engines(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    devices = [" + ".join(sorted(device["name"] for device in side.get("devices") or ())) for side in (one, other)]
    yield _differ("", *devices)
    for key in _IDENTITY:
        yield _differ(key, one.get(key), other.get(key))


def _read_workload(measurement: Mapping[str, Any]) -> object:
    return (measurement.get("workload") or {}).get("digest")


def _differ(name: str, one: object, other: object) -> str:
    if one == other:
        return ""
    texts = [_UNKNOWN if value in (None, "") else str(value) for value in (one, other)]
    return f"{name + ' ' if name else ''}{texts[0]} / {texts[1]}"


def list_context(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs in the context of two reports, which does not make them incomparable: ``driver 550 / 560``."""
    one, other = old["session"], new["session"]
    found = [_differ(name, one.get(name), other.get(name)) for name in _SESSION]
    commits = [_describe_commit(side.get("git")) for side in (one, other)]
    return [text for text in [_differ("commit", *commits), *_compare_versions(old, new), *found] if text]


def _describe_commit(git: Mapping[str, Any] | None) -> str:
    if not git:
        return ""
    return f"{git['commit'][:12]}{' with changes' if git.get('dirty') else ''}"


def _compare_versions(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    sides = []
    for report in (old, new):
        engines = [test["measurement"].get("engine") or {} for test in report["tests"] if test["measurement"]]
        sides.append({engine["label"]: engine["version"] for engine in engines if engine})
    for label in dict.fromkeys([*sides[0], *sides[1]]):
        if label in sides[0] and label in sides[1]:
            yield _differ(f"version of {label}", sides[0][label], sides[1][label])
