"""Server-sent events and lines of JSON: what is read does not depend on how the bytes were split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from pytest_llmperf.traffic.answers import sse
from pytest_llmperf.traffic.answers.answer import Arrival
from pytest_llmperf.traffic.answers.ollama import read as read_ollama
from tests.fuzz.strategies import damaged, splits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DataObject, SearchStrategy

WORDS = (
    *(b"data: ", b"data:", b"data", b"event: error", b"event: ping", b"event", b": ping", b"id: 7", b"retry: 5"),
    *(b"error: boom", b"[DONE]", b"{}", b'{"a": 1}', b'{"error": "x"}', b"[1, 2]", b"text", b"\xef\xbb\xbf"),
    *("é".encode(), "\u2028".encode(), b"\xf0\x9f\x99", b"\xff", b"\0", b" ", b"x-error: y", b"Error"),
)
ENDS = (b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n", b"\r\r", b"")
bodies: SearchStrategy[bytes] = st.lists(
    st.tuples(st.sampled_from(WORDS), st.sampled_from((b"", *WORDS)), st.sampled_from(ENDS)), max_size=12
).map(lambda lines: b"".join(b"".join(line) for line in lines))


def stamp(pieces: Sequence[bytes]) -> list[tuple[int, bytes]]:
    return list(enumerate(pieces, 1))


@given(data=st.data(), body=bodies)
@example(data=None, body=b"data: a\r\n\r\ndata: b\r\n\r\n")
@example(data=None, body=b"\xef\xbb\xbfdata: a\r\rdata")
def test_the_events_of_a_body_do_not_depend_on_its_pieces(data: DataObject | None, body: bytes) -> None:
    whole = sse.parse_events(stamp([body] if body else []))
    pieces = [body[at : at + 1] for at in range(len(body))] if data is None else data.draw(splits(body))
    found = sse.parse_events(stamp(pieces))
    assert [text for _, text in found] == [text for _, text in whole]
    stamps = [at for at, _ in found]
    assert stamps == sorted(stamps)
    assert not stamps or (stamps[0] >= 1 and stamps[-1] <= len(pieces))


@given(texts=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n")), max_size=8))
def test_what_a_server_sends_as_events_is_read_as_it_was(texts: list[str]) -> None:
    for end in ("\n", "\r\n", "\r"):
        body = "".join(f"data: {text}{end}{end}" for text in texts).encode()
        assert [text for _, text in sse.parse_events([(1, body)])] == texts


LINES = (
    b'{"message": {"content": "a"}, "done": false}\n',
    b'{"response": "b", "done": false}\r\n',
    b'{"done": true, "done_reason": "stop", "eval_count": 2, "prompt_eval_count": 3}\n',
    b'{"error": "boom"}\n',
)


@given(
    data=st.data(),
    body=st.lists(st.sampled_from(LINES), max_size=5).flatmap(lambda lines: damaged(b"".join(lines), (b"{", b"}"))),
)
def test_lines_of_json_are_read_alike_however_they_are_split(data: DataObject, body: bytes) -> None:
    def read(pieces: Sequence[bytes]) -> tuple[object, ...]:
        answer = read_ollama(Arrival(0, 99, stamp(pieces), 200, "application/x-ndjson"))
        timing = answer.timing
        return answer.text, answer.finish_reason, timing.error, timing.output_tokens, timing.count_fault

    assert read(data.draw(splits(body))) == read([body] if body else [])
