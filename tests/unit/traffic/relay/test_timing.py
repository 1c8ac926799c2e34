from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.traffic.relay.recorded_calls import HUNG_UP, RecordedCall
from pytest_llmperf.traffic.relay.timing import read_timing
from tests.helpers.relay_wires import DONE, EVENTS, FINISH, PATH, WORDS

if TYPE_CHECKING:
    from pytest_llmperf.measurement.request import RequestTiming

SSE = "text/event-stream; charset=utf-8"


def stamped(*pieces: bytes) -> list[tuple[int, bytes]]:
    return [(200 + 100 * number, piece) for number, piece in enumerate(pieces)]


def timing(*pieces: bytes, path: str = PATH, content_type: str = SSE, **details: object) -> RequestTiming:
    call = RecordedCall(path, 100, 900, 200, content_type, pieces=stamped(*pieces), ended=True)
    for name, value in details.items():
        setattr(call, name, value)
    found = read_timing(call)
    assert found is not None
    return found


def test_a_stream_has_its_chunks_and_the_servers_counts() -> None:
    found = timing(*EVENTS)
    assert [chunk.at_ns for chunk in found.chunks] == [200, 300]
    assert (found.output_tokens, found.prompt_tokens, found.error, found.sent_ns) == (2, 3, None, 100)


def test_a_whole_answer_is_told_from_a_stream_by_its_type() -> None:
    body = {"choices": [{"message": {"content": "one"}, "finish_reason": "stop"}], "usage": {"completion_tokens": 1}}
    found = timing(json.dumps(body).encode(), content_type="application/json")
    assert (found.streamed, found.output_tokens, found.error) == (False, 1, None)


def test_a_prompt_from_a_cache_is_the_apps_own_choice() -> None:
    assert timing(*EVENTS).shared_prefix


@pytest.mark.parametrize(
    ("pieces", "by_app", "error"),
    [
        ((*WORDS, FINISH), True, None),
        ((*WORDS, DONE), True, HUNG_UP),
        (WORDS, True, HUNG_UP),
        ((*WORDS, FINISH), False, HUNG_UP),
    ],
    ids=["after the finish reason", "after a bare end", "before both", "not by the app"],
)
def test_who_leaves_after_the_finish_reason_has_an_answer(
    pieces: tuple[bytes, ...], by_app: bool, error: str | None
) -> None:
    assert timing(*pieces, fault=HUNG_UP, by_app=by_app).error == error


def test_half_a_whole_answer_is_none_whoever_left() -> None:
    assert timing(b'{"choi', content_type="application/json", fault=HUNG_UP, by_app=True).error == HUNG_UP


@pytest.mark.parametrize(("name", "wbits"), [("gzip", 31), ("deflate", 15)])
def test_compressed_streams_keep_the_stamps_of_their_pieces(name: str, wbits: int) -> None:
    packer = zlib.compressobj(wbits=wbits)
    pieces = [packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH) for event in EVENTS]
    found = timing(*pieces, content_encoding=name)
    assert [chunk.at_ns for chunk in found.chunks] == [200, 300]
    assert found.output_tokens == 2


def test_what_cannot_be_unpacked_is_an_error_with_its_cure() -> None:
    found = timing(b"\x1b\x00", content_encoding="br")
    assert found.error == "an answer in br cannot be decoded: let the app send Accept-Encoding: identity"
    found = timing(gzip.compress(b"x")[5:], content_encoding="gzip")
    assert found.error == "the answer is not valid gzip, which its Content-Encoding states"


@pytest.mark.parametrize(
    ("message", "seen"),
    [
        ("bad key sk-proj-1234567890abcdef", "HTTP 401: bad key sk-***"),
        ("no such token: Bearer abc.def-123", "HTTP 401: no such token: Bearer ***"),
        ("risk-free", "HTTP 401: risk-free"),
    ],
)
def test_keys_that_servers_quote_do_not_reach_a_report(message: str, seen: str) -> None:
    found = timing(json.dumps({"error": {"message": message}}).encode(), content_type="application/json", status=401)
    assert found.error == seen


def test_an_unreachable_server_is_the_error() -> None:
    fault = "the server cannot be reached: connection refused"
    assert timing(status=None, content_type="", fault=fault).error == fault


LINES = [b'{"response":"one","done":false}\n', b'{"response":"","done":true,"done_reason":"stop","eval_count":1}\n']
MESSAGES = [b'{"message":{"content":"one"},"done":false}\n', b'{"done":true,"done_reason":"stop","eval_count":1}\n']


@pytest.mark.parametrize(("path", "pieces"), [("/api/generate", LINES), ("/ollama/api/chat", MESSAGES)])
def test_ollamas_own_protocol_is_read_as_such(path: str, pieces: list[bytes]) -> None:
    found = timing(*pieces, path=path, content_type="application/x-ndjson")
    assert (len(found.chunks), found.output_tokens, found.error) == (1, 1, None)
    assert found.ttft == pytest.approx(100e-9)


def test_a_call_that_only_loads_a_model_is_no_request() -> None:
    body = b'{"response":"","done":true,"done_reason":"load"}'
    call = RecordedCall("/api/generate", 1, 2, 200, "application/json", pieces=[(2, body)], ended=True)
    assert read_timing(call) is None
