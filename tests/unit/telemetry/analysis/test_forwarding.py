from __future__ import annotations

import pytest

from pytest_llmperf.telemetry.analysis.forwarding import why_forwarder

MIB, GIB = 1 << 20, 1 << 30
ELSEWHERE = ("10.0.0.7:8000",)


@pytest.mark.parametrize(
    ("held", "weights", "contacts", "reason"),
    [
        (20 * MIB, 92 * MIB, (), "holds 20.0 MiB, less than the 92.0 MiB of the model's weights"),
        (20 * MIB, 92 * MIB, ELSEWHERE, "holds 20.0 MiB, less than the 92.0 MiB of the model's weights"),
        # A gateway in Python holds more than a small model weighs.
        (400 * MIB, 92 * MIB, ELSEWHERE, "holds 400 MiB and is connected to 10.0.0.7:8000"),
        (60 * MIB, None, ELSEWHERE, "holds 60.0 MiB and is connected to 10.0.0.7:8000"),
        (9 * MIB, None, (), "holds 9.00 MiB, less than any model takes"),
        (5 * GIB, 16 * GIB, (), "holds 5.00 GiB, less than the 16.0 GiB of the model's weights"),
    ],
)
def test_what_cannot_hold_the_model_is_a_forwarder(
    held: int, weights: int | None, contacts: tuple[str, ...], reason: str
) -> None:
    found = why_forwarder("process 7 (nginx)", held, weights_bytes=weights, contacts=contacts)
    assert found.startswith(f"process 7 (nginx) {reason}: it seems to forward requests to the engine; give ")
    assert found.endswith("as --llmperf-engine-arg=pid=PID")


@pytest.mark.parametrize(
    ("held", "weights", "forwards"), [(150 * MIB, None, True), (150 * MIB, 92 * MIB, False), (3 * GIB, None, False)]
)
def test_what_has_nothing_on_a_gpu_where_others_compute_may_be_their_door(
    held: int, weights: int | None, forwards: bool
) -> None:
    found = why_forwarder("process 7 (router)", held, weights_bytes=weights, on_gpu=["8 (shard)", "9 (shard)"])
    assert bool(found) == forwards
    if forwards:
        assert "holds 150 MiB and nothing on the GPU, on which 8 (shard), 9 (shard) computes" in found


@pytest.mark.parametrize(
    ("held", "weights", "contacts"),
    [
        (250 * MIB, 92 * MIB, ()),
        (60 * MIB, None, ()),
        # Not every page of a mapped file is resident.
        (60 * MIB, 92 * MIB, ()),
        # It sends traces to a collector, or works together with others.
        (12 * GIB, 16 * GIB, ELSEWHERE),
        (3 * GIB, None, ELSEWHERE),
    ],
)
def test_what_may_hold_the_model_is_taken_for_the_engine(
    held: int, weights: int | None, contacts: tuple[str, ...]
) -> None:
    assert why_forwarder("process 7", held, weights_bytes=weights, contacts=contacts) == ""
