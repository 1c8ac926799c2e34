"""One stored run: the tests of one run on engines of one fingerprint, and the file that holds them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pytest_llmperf.baselines.errors import StoreError
from pytest_llmperf.reports.compact.faults import WRONG_SHAPE, describe_wrong_shape, shorten
from pytest_llmperf.reports.compact.report import compact_report, expand_report

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = 3
_NO_ENGINE = "no engine"


@dataclass(frozen=True)
class StoredRun:
    """What one run measured on engines of one fingerprint.

    Attributes:
        path: of its file.
        name: under which it was stored.
        fingerprint: what its numbers may be compared with: runs of the same one.
        created: when it was reported, in UTC.
        commit: the git commit of the project, 40 hexadecimal digits; empty if it is not known.
        engine: of its tests, as the report has it, of several the first; empty if they had none.
        session: the facts about the run, as the report has them.
        metrics: unit, direction and formula of each metric, by its name.
        tests: the report's entry of each test, by node id.
        next_tokens: what its engine expected next, by the digest of the text that it was asked for.
    """

    path: Path
    name: str
    fingerprint: str
    created: datetime
    commit: str
    engine: Mapping[str, Any]
    session: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]
    tests: Mapping[str, Mapping[str, Any]]
    next_tokens: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Its name on the command line, and what tells it from all other runs of its name and fingerprint."""
        return self.path.stem


def find_fingerprint(test: Mapping[str, Any]) -> str:
    """With which runs a test's numbers may be compared, from its entry in a report; empty if nothing was measured.

    That is the fingerprint of its engine. A test of several engines has one made of all of theirs, and a test without
    an engine one made of the devices that it was measured on.

    Raises:
        StoreError: the entry of an engine has no fingerprint.
    """
    measurement = test.get("measurement") or {}
    if not measurement:
        return ""
    engines = [part.get("engine") for part in measurement.get("parts") or [measurement]]
    found = [_read_fingerprint(engine, test) for engine in engines if engine]
    if len(found) == 1 and len(engines) == 1:
        return found[0]
    devices = [str(trace["device"]["name"]) for trace in measurement.get("devices") or []]
    return digest_text(json.dumps(sorted(found) or [_NO_ENGINE, *sorted(devices)]))[:16]


def _read_fingerprint(engine: Mapping[str, Any], test: Mapping[str, Any]) -> str:
    found = engine.get("fingerprint")
    if not isinstance(found, str) or not found:
        raise StoreError(f"{test.get('nodeid')}: its engine has no fingerprint, so it cannot be stored")
    return found


def failed_by_itself(test: Mapping[str, Any]) -> bool:
    """Whether something else than a budget failed a test, or would have without xfail, from its entry in a report.

    What it measured may then not be that of a good build. A value beyond its budget counts.
    """
    return test.get("failed_by", "") not in ("", "budget") or not test.get("is_whole", True)


def split_report(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The report once for each fingerprint in it, with its tests, but without the records of single requests.

    Tests that measured nothing are in none of them.

    Raises:
        StoreError: the entry of an engine has no fingerprint.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for test in report["tests"]:
        if fingerprint := find_fingerprint(test):
            groups.setdefault(fingerprint, []).append(test)
    return {
        fingerprint: {
            **report,
            "tests": [_drop_request_records(test) for test in tests],
            **_select_next_tokens(report, fingerprint),
        }
        for fingerprint, tests in groups.items()
    }


def _select_next_tokens(report: Mapping[str, Any], fingerprint: str) -> dict[str, Any]:
    if "next_tokens" not in report:
        return {}
    return {"next_tokens": [one for one in report["next_tokens"] if one["fingerprint"] == fingerprint]}


def _drop_request_records(test: Mapping[str, Any]) -> dict[str, Any]:
    return {**test, "measurement": _shrink(test["measurement"])}


def _shrink(measurement: Mapping[str, Any]) -> dict[str, Any]:
    shrunk = dict(measurement)
    if isinstance(requests := shrunk.get("requests"), Mapping):
        shrunk["requests"] = {key: value for key, value in requests.items() if key != "records"}
    if parts := shrunk.get("parts"):
        shrunk["parts"] = [_shrink(part) for part in parts]
    return shrunk


def to_text(report: Mapping[str, Any]) -> str:
    """The text of a run's file: JSON on one line, keys sorted, so that equal reports have equal files.

    Raises:
        StoreError: the report has something that JSON cannot write.
    """
    try:
        return json.dumps(compact_report(report), allow_nan=False, sort_keys=True, separators=(",", ":")) + "\n"
    except WRONG_SHAPE as error:
        raise StoreError(f"the report cannot be stored ({type(error).__name__}: {error})") from error


def digest_text(text: str) -> str:
    """Hexadecimal digits that tell one text from another."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_created(report: Mapping[str, Any]) -> datetime:
    """When the run was reported, in UTC.

    Raises:
        StoreError: the report does not say it.
    """
    try:
        created = datetime.fromisoformat(report["created"])
        return created.replace(tzinfo=UTC) if created.tzinfo is None else created.astimezone(UTC)
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        stated = shorten(repr(report.get("created")))
        raise StoreError(f"the report does not say when it was created: {stated}") from error


def read_commit(report: Mapping[str, Any]) -> str:
    """The git commit of the project; empty if it is not known."""
    git = (report.get("session") or {}).get("git") or {}
    return str(git.get("commit") or "")


def parse_run(text: str, path: Path, name: str, fingerprint: str) -> StoredRun:
    """The run that the text of a file holds.

    Raises:
        StoreError: it holds none, or one of another fingerprint.
    """
    try:
        report = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"it is not whole, or no JSON: {shorten(error)}") from error
    _check_schema(report)
    try:
        return _build_run(expand_report(report), path, name, fingerprint)
    except WRONG_SHAPE as error:
        raise StoreError(describe_wrong_shape(error)) from error


def _check_schema(report: Any) -> None:
    if not isinstance(report, Mapping) or "schema" not in report:
        raise StoreError("it is no report of pytest-llmperf")
    if report["schema"] != SCHEMA:
        raise StoreError(f"it is a report of schema {shorten(report['schema'])}, and this version reads {SCHEMA}")


def _build_run(report: Mapping[str, Any], path: Path, name: str, fingerprint: str) -> StoredRun:
    tests = {str(test["nodeid"]): test for test in report["tests"]}
    if not tests:
        raise StoreError("it has no tests")
    for test in tests.values():
        _check_test(test, fingerprint)
    first = next(iter(tests.values()))
    return StoredRun(
        path=path,
        name=name,
        fingerprint=fingerprint,
        created=read_created(report),
        commit=read_commit(report),
        engine=dict(first["measurement"]["engine"] or {}),
        session=dict(report["session"]),
        metrics=dict(report["metrics"]),
        tests=tests,
        next_tokens={str(one["text"]): one for one in report.get("next_tokens", ())},
    )


def _check_test(test: Mapping[str, Any], fingerprint: str) -> None:
    found = find_fingerprint(test)
    if found != fingerprint:
        raise StoreError(f"a test of it belongs to {found or 'no fingerprint'}, not to {fingerprint}")
    if not isinstance(test["measurement"]["readings"], Mapping):
        raise TypeError("readings")
