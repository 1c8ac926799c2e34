"""Calls whose answers are not read, and which the test says are no matter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_llmperf.traffic.relay.paths import ends_with, find_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_llmperf.measurement.unread import UnreadCall


def check_ignored_path(path: str) -> None:
    """Checks the argument of ``llm_perf.ignore_path``.

    Raises:
        ValueError: it does not begin with ``/``, names no path, or is one whose calls are measured.
    """
    if not isinstance(path, str) or not path.startswith("/") or not path.strip("/*"):
        raise ValueError(f"llm_perf.ignore_path({path!r}): give the end of a path, such as '/v1/audio/speech'")
    endpoint = find_endpoint(path)
    if endpoint is not None:
        raise ValueError(f"llm_perf.ignore_path({path!r}): calls there are measured, as {endpoint.name}")


def ignore_call(call: UnreadCall, paths: Iterable[str]) -> UnreadCall:
    """The call; as one that is no harm, if its path ends with one of these."""
    path = call.what.partition(" ")[2]
    return replace(call, harmless=True) if any(ends_with(path, end) for end in paths) else call
