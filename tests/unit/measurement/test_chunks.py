from __future__ import annotations

import pytest

from pytest_llmperf.measurement.chunks import Chunk, PackedChunks
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.traffic.load.wire import Frames, Order, Strings, frame, pack_timing, unpack_timings

SLOW = 5_000_000_000
STREAMS = {
    "one": (Chunk(7),),
    "text without counts": tuple(Chunk(at) for at in (7, 9, 9, 4_000_000_000)),
    "one token each": tuple(Chunk(at, tokens=1) for at in (7, 9, 12)),
    "several tokens each": (Chunk(7, tokens=4), Chunk(9, tokens=0), Chunk(12, tokens=300_000)),
    "reasoning, text, tool": (Chunk(7, "reasoning", 1), Chunk(9, "text", 1), Chunk(12, "tool", 1)),
    "gaps beyond 32 bits": (Chunk(7), Chunk(7 + SLOW), Chunk(8 + SLOW)),
    "a count that stops": (Chunk(7, tokens=1), Chunk(9)),
}


@pytest.mark.parametrize("chunks", STREAMS.values(), ids=STREAMS)
def test_packed_chunks_are_the_same_chunks(chunks: tuple[Chunk, ...]) -> None:
    packed = PackedChunks.pack(chunks)
    counted = all(chunk.tokens is not None for chunk in chunks)
    expected = chunks if counted else tuple(Chunk(chunk.at_ns, chunk.kind) for chunk in chunks)
    assert tuple(packed) == expected
    assert packed == expected
    assert [packed[place] for place in range(-len(chunks), len(chunks))] == [*expected, *expected]
    assert packed[1:] == expected[1:]
    assert len(packed) == len(chunks)
    with pytest.raises(IndexError):
        packed[len(chunks)]


def test_no_chunks_are_an_empty_tuple() -> None:
    assert PackedChunks.pack(()) == ()


@pytest.mark.parametrize("chunks", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("key", ["ttft", "ttft_answer", "tpot", "e2e", "itl", "chunk_gaps"])
def test_packed_chunks_give_the_same_latencies(chunks: tuple[Chunk, ...], key: str) -> None:
    plain, packed = (RequestTiming(1, SLOW, form, output_tokens=9) for form in (chunks, PackedChunks.pack(chunks)))
    assert getattr(packed, key) == getattr(plain, key)


TIMINGS = {
    "full": RequestTiming(5, 90, STREAMS["one token each"], 3, 12, 4, True, 200, "stop", None, 3, True),
    "bare": RequestTiming(5, 90),
    "failed": RequestTiming(5, 90, streamed=False, status=503, error="HTTP 503: too busy"),
    **{name: RequestTiming(5, 90, chunks, finish_reason="length") for name, chunks in STREAMS.items()},
}


def test_timings_cross_the_wire_unchanged_however_many_share_a_block() -> None:
    strings = Strings()
    block = b"".join(pack_timing(number, timing, strings) for number, timing in enumerate(TIMINGS.values()))
    found = dict(unpack_timings(block, strings.known))
    counted = {name: timing for name, timing in TIMINGS.items() if name != "a count that stops"}
    assert {name: found[number] for number, name in enumerate(TIMINGS) if name in counted} == counted
    assert strings.known == [None, "stop", "HTTP 503: too busy", "length"]


def test_a_token_takes_four_bytes_on_the_wire() -> None:
    timing = RequestTiming(5, 90, tuple(Chunk(at, tokens=1) for at in range(1000)), 1000)
    assert len(pack_timing(0, timing, Strings())) < 4 * 1000 + 200


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_frames_are_put_together_from_pieces_of_any_size(step: int) -> None:
    sent = [(b"P", b"plan"), (b"E", b""), (b"R", b"x" * 300)]
    data = b"".join(frame(kind, payload) for kind, payload in sent)
    frames = Frames()
    found = [one for at in range(0, len(data), step) for one in frames.take(data[at : at + step])]
    assert found == sent


@pytest.mark.parametrize(
    "order",
    [
        Order(0, b"{}"),
        Order(7, b'{"a": 1}', 0, shared=True),
        Order(8, b"{}", full_length=True),
        Order(9, b"{}", 12, further=[("hello", 3, 0), (["x"], 4, 5)]),
    ],
)
def test_orders_cross_the_wire_unchanged(order: Order) -> None:
    assert Order.unpack(order.pack()) == order
