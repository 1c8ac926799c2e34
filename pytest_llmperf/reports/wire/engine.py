"""An engine as plain data, with what tells whether its numbers may be compared with those of another run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.wire.memory import device_to_wire
from pytest_llmperf.reports.wire.numbers import to_number

if TYPE_CHECKING:
    from pytest_llmperf.measurement.engine_info import EngineInfo


def engine_to_wire(engine: EngineInfo) -> dict[str, Any]:
    """What is known of an engine. Runs whose engines have one ``fingerprint`` may be compared."""
    return {
        "name": str(engine.name),
        "version": str(engine.version),
        "version_class": str(engine.version_class),
        "model": str(engine.model),
        "label": str(engine.label),
        "devices": [device_to_wire(device) for device in engine.devices],
        "startup_seconds": to_number(engine.startup_seconds),
        "warmup_seconds": to_number(engine.warmup_seconds),
        "digest": str(engine.digest) or None,
        "quantisation": str(engine.quantisation) or None,
        "arguments": {str(name): str(value) for name, value in engine.arguments},
        "fingerprint": str(engine.fingerprint),
    }
