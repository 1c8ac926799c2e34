"""Whether what listens at a server's address can be the engine, by what it holds and whom it is connected to.

A proxy, a tunnel or a sidecar answers as the engine does, and its memory says nothing of the engine's. No list of names
knows them all, but a model takes memory, and what has no model must ask somebody who has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.units import BYTES, format_value

if TYPE_CHECKING:
    from collections.abc import Sequence

# Nothing that serves a model takes less: an interpreter alone has as much.
LEAST_BYTES = 16 << 20
# What is connected to others and holds less may be a gateway in Python.
LARGEST_FORWARDER_BYTES = 1 << 30
# Not all pages of a file of weights need be resident.
RESIDENT_SHARE = 0.5


def why_forwarder(
    process: str,
    held_bytes: int,
    *,
    weights_bytes: float | None = None,
    contacts: Sequence[str] = (),
    on_gpu: Sequence[str] = (),
) -> str:
    """Why a process does not hold the model that answers at its address, and what to do; "" if it may.

    Args:
        process: how it is called in the reason.
        held_bytes: the largest memory that it and those below it held on the host and on devices.
        weights_bytes: what the server states of its weights; None if it does not.
        contacts: the addresses outside of itself that it was seen to be connected to.
        on_gpu: other processes, which compute on the host's GPU while it does not.
    """
    expected = RESIDENT_SHARE * (weights_bytes or 0)
    held = format_value(held_bytes, BYTES)
    if held_bytes < expected:
        seen = f"holds {held}, less than the {format_value(weights_bytes or 0, BYTES)} of the model's weights"
    elif contacts and held_bytes < LARGEST_FORWARDER_BYTES:
        seen = f"holds {held} and is connected to {', '.join(sorted(contacts)[:3])}"
    elif on_gpu and weights_bytes is None and held_bytes < LARGEST_FORWARDER_BYTES:
        seen = f"holds {held} and nothing on the GPU, on which {', '.join(on_gpu[:3])} computes"
    elif held_bytes < LEAST_BYTES:
        seen = f"holds {held}, less than any model takes"
    else:
        return ""
    return (
        f"{process} {seen}: it seems to forward requests to the engine; give the engine's own address, or the pid of "
        "its process on this host as --llmperf-engine-arg=pid=PID"
    )
