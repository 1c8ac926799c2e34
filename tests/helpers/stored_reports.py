"""JSON reports in full, made of a few numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.result import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping

FINGERPRINT = "0123456789abcdef"
OTHER = "fedcba9876543210"
COMMIT = "c0ffee" * 6 + "beef"
FIRST_DAY = datetime(2026, 7, 1, 6, 30, tzinfo=UTC)
METRICS = {
    "latency.ttft": {"unit": "s", "better": "lower", "formula": "first token - sent"},
    "throughput.output": {"unit": "tok/s", "better": "higher", "formula": "output tokens / time"},
    "memory.peak": {"unit": "B", "better": "lower", "formula": "largest sample"},
}


def make_engine(fingerprint: str = FINGERPRINT, device: str = "NVIDIA L4", **changes: Any) -> dict[str, Any]:
    """An engine's entry in a measurement."""
    return {
        "name": "vllm",
        "version": "0.31.2",
        "version_class": "0",
        "model": "Qwen/Qwen3-0.6B",
        "label": "vllm:Qwen/Qwen3-0.6B",
        "devices": [{"kind": "cuda", "name": device, "uuid": "GPU-1"}],
        "startup_seconds": 30.0,
        "warmup_seconds": 0.5,
        "digest": None,
        "quantisation": None,
        "arguments": {},
        "fingerprint": fingerprint,
        **changes,
    }


def make_test(
    nodeid: str = "test_chat.py::test_fast",
    values: Mapping[str, float | None] | None = None,
    engine: dict[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """A test's entry in a report, with a reading for each of ``values``; None stands for one that is missing."""
    asked = {"latency.ttft_p50": 0.2} if values is None else values
    missing = [name for name, value in asked.items() if value is None]
    measurement = {
        "engine": make_engine() if engine is None else engine,
        "readings": {name: {"value": value, "samples": 12} for name, value in asked.items() if value is not None},
        "missing": {"no request": missing} if missing else {},
        "requests": {"total": 12, "records": [{"ttft_s": 0.2}] * 12},
        "parts": [],
        "devices": [],
        **changes,
    }
    return {"nodeid": nodeid, "outcome": "passed", "duration_s": 1.0, "verdicts": [], "measurement": measurement}


def make_report(*tests: dict[str, Any], day: float = 0, commit: str = COMMIT, **session: Any) -> dict[str, Any]:
    """A report of some tests, by default of one, created so many days after the first of July."""
    return {
        "schema": SCHEMA,
        "created": (FIRST_DAY + timedelta(days=day)).isoformat().replace("+00:00", "Z"),
        "session": {
            "host": "runner-1",
            "git": {"commit": commit, "branch": "main", "dirty": False} if commit else None,
            **session,
        },
        "counts": {},
        "metrics": METRICS,
        "tests": list(tests) or [make_test()],
    }
