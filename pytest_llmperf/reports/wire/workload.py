"""What a test asked for, as plain data that is equal in every run of the same test."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_llmperf.measurement.measurement import Measurement


def workload_to_wire(measurement: Measurement) -> dict[str, Any]:
    """The loads, each once, the token limits of all other requests, and the ways in which these were sent.

    How many requests or rounds there were is not part of it. ``digest`` has 16 hexadecimal digits.
    """
    alone = [request for request in measurement.requests if request.lag is not None]
    asked = {request.asked_tokens for request in alone}
    found: dict[str, Any] = {
        "loads": _list_once([_to_plain(load.plan) for load in measurement.loads]),
        "asked_tokens": sorted(int(tokens) for tokens in asked if tokens is not None),
        "ways": sorted({str(request.lag.way) for request in alone if request.lag is not None}),
    }
    return {**found, "digest": hashlib.sha256(_write(found).encode()).hexdigest()[:16]}


def _to_plain(value: Any) -> Any:
    """The same of exact builtin types."""
    return json.loads(_write(value))


def _list_once(loads: list[Any]) -> list[Any]:
    return [json.loads(text) for text in sorted({_write(load) for load in loads})]


def _write(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
