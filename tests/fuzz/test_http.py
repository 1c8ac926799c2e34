"""Heads and chunks of HTTP/1.1: all readers agree on any bytes, or refuse them alike, however they are split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import example, given
from hypothesis import strategies as st

from pytest_llmperf.system.http.bodies import choose_answer_body, choose_request_body
from pytest_llmperf.system.http.heads import ANSWER, LONGEST_HEAD, parse_answer_head, parse_request_head
from pytest_llmperf.system.http.messages import Messages
from pytest_llmperf.system.http.proxy import Proxy, ProxyError
from tests.fuzz.refusals import read_or_refuse
from tests.fuzz.strategies import damaged, splits
from tests.helpers.http_readers import read_by_client, read_by_load, read_by_python, read_by_relay
from tests.helpers.http_wires import ANSWERS, REFUSED, REQUESTS

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject

    from pytest_llmperf.system.http.bodies import Body

# Signs and other forms of digits, separators, and whole fields that say where a body ends.
WORDS = (
    *(b"0", b"5", b"f", b"+", b"-", b"_", b"0x", b":", b";", b",", b"\t", b"\xb2", b"\xd9\xa1", b"\x1b[2J"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"0\r\n\r\n"),
    *(b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"5\r\nhello\r\n", b"\r\n\r\n", b"9" * 400),
)
ANSWERED = [wire.data for wire in ANSWERS.values() if len(wire.data) < 2000]
ASKED = [data for data, _ in (*REQUESTS.values(), *REFUSED.values()) if len(data) < 2000]
wires = st.sampled_from(ANSWERED).flatmap(lambda data: damaged(data, WORDS))
requests = st.sampled_from(ASKED).flatmap(lambda data: damaged(data, WORDS))


@given(data=st.data(), wire=st.one_of(wires, st.binary(max_size=60)))
def test_all_readers_agree_on_an_answer_or_refuse_it_alike(data: DataObject, wire: bytes) -> None:
    whole = read_by_client([wire] if wire else [])
    pieces = data.draw(splits(wire))
    client = read_by_client(pieces)
    assert (client.status, client.fault) == (whole.status, whole.fault)
    assert [byte for _, byte in client.content] == [byte for _, byte in whole.content]
    assert read_by_load(pieces) == client
    assert read_by_relay(pieces) == client._replace(reusable=None)
    by_python, _ = read_by_python(pieces)
    assert by_python.fault == client.fault
    content = [byte for _, byte in client.content]
    found = [byte for _, byte in by_python.content]
    assert found == content if not client.fault else found == content[: len(found)]


def begin_answer(wire: bytes) -> tuple[object, Body]:
    head = parse_answer_head(wire)
    return head, choose_answer_body(head, "POST")


def begin_request(wire: bytes) -> tuple[object, Body]:
    head = parse_request_head(wire)
    return head, choose_request_body(head)


def feed(found: Messages[Any], pieces: list[bytes]) -> tuple[bytes, bytes, str, int]:
    """The bytes that were passed on, the content in them, the fault, and the most bytes that were held back."""
    wire, content, most = b"", b"", 0
    for piece in pieces:
        for part in found.feed(piece):
            wire += part.wire
            content += b"".join(part.content)
        most = max(most, len(found.held))
    return wire + found.held, content, found.fault, most


@given(data=st.data(), wire=st.lists(st.one_of(wires, requests), min_size=1, max_size=3), answers=st.booleans())
@example(data=None, wire=[b"x" * (LONGEST_HEAD + 9)], answers=False)
@example(data=None, wire=[b"HTTP/1.1 200 OK\r\nX: " + b"x" * (LONGEST_HEAD + 9)], answers=True)
def test_every_byte_of_a_connection_is_passed_on_once(
    data: DataObject | None, wire: list[bytes], answers: bool
) -> None:
    joined = b"".join(wire)

    def read(pieces: list[bytes]) -> tuple[bytes, bytes, str, int]:
        if answers:
            return feed(Messages(begin_answer, prefix=ANSWER), pieces)
        return feed(Messages(begin_request, skips_empty_lines=True), pieces)

    whole = read([joined])
    split = read([joined[at : at + 1] for at in range(len(joined))] if data is None else data.draw(splits(joined)))
    assert whole[0] == split[0] == joined
    assert whole[1:3] == split[1:3]
    assert max(whole[3], split[3]) <= LONGEST_HEAD


@given(answer=st.one_of(wires, st.binary(max_size=60)))
def test_a_proxy_opens_a_tunnel_or_is_refused_in_one_line(answer: bytes) -> None:
    is_open, refusal = read_or_refuse(lambda: Proxy("proxy", 80).is_open(answer), ProxyError)
    assert is_open is not None or refusal.isprintable()
