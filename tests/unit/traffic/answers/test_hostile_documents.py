"""Whatever a server sends, every reader gives an answer or a failed request of one line, and nothing else."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.traffic.answers.reading import read_or_fail
from tests.helpers.answer_readers import GOOD, OWN, READERS, WAYS, check_answer
from tests.helpers.arrivals import as_body, as_stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_llmperf.traffic.answers.answer import Answer, Arrival

WRONG: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    2**63,
    10**400,
    "",
    "x",
    "\ud800",
    [],
    [[]],
    [None],
    {},
    {"a": {}},
    "9" * 300,
]
DEEP = b'{"choices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BYTES = [
    b"",
    b"\n\n\n",
    b"null",
    b"[]",
    b"{}",
    b"{oops",
    b"\xff\xfe\x00",
    b"data: data: {}",
    b'{"usage": {"completion_tokens": ' + b"9" * 30 + b"}}",
    b'{"usage": {"completion_tokens": ' + b"9" * 5000 + b"}}",
    b'{"eval_count": ' + b"9" * 5000 + b', "done": true}',
    b'{"usage": {"completion_tokens": NaN}}',
    b'{"usage": {"completion_tokens": Infinity}}',
    b'{"usage": {"completion_tokens": 1e400}}',
    b'{"error": ' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"error": "' + rb"[" * 100_000 + b'"}',
    DEEP,
    b"[" * 100_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
]


def change(content: Any, value: Any) -> Iterator[Any]:
    """Yields the content with each value in it, at every depth, replaced by this one."""
    yield value
    if isinstance(content, dict):
        for key, inner in content.items():
            yield from ({**content, key: changed} for changed in change(inner, value))
    elif isinstance(content, list):
        for place, inner in enumerate(content):
            yield from ([*content[:place], changed, *content[place + 1 :]] for changed in change(inner, value))


@pytest.mark.parametrize("data", BYTES, ids=lambda data: repr(data[:40]))
@pytest.mark.parametrize("path", READERS)
def test_bytes_of_any_kind_are_a_failed_request_of_one_line(path: str, data: bytes) -> None:
    for arrive in WAYS.values():
        check_answer(path, arrive(data))
        assert read_or_fail(READERS[path], arrive(data)).timing.error


@pytest.mark.parametrize("value", WRONG, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("path", READERS)
def test_values_of_the_wrong_type_at_any_place_break_no_reader(path: str, value: object) -> None:
    changed_ones = [GOOD[kind] for kind in OWN.get(path, ("chat", "responses", "ollama"))]
    for contents, arrive in itertools.product(changed_ones, WAYS.values()):
        encoded = [json.dumps(content).encode() for content in contents]
        for place, content in enumerate(contents):
            before, after = ([], []) if arrive is as_body else (encoded[:place], encoded[place + 1 :])
            for changed in change(content, value):
                check_answer(path, arrive(*before, json.dumps(changed).encode(), *after))


@pytest.mark.parametrize("path", READERS)
def test_what_a_reader_raises_is_a_failed_request_with_its_stamps(path: str) -> None:
    def broken(_: Arrival) -> Answer:
        raise RecursionError("too\ndeep")

    timing = read_or_fail(broken, as_stream("x", "y")).timing
    assert (timing.sent_ns, timing.end_ns, timing.status) == (0, 20_000_000, 200)
    assert timing.error == "the answer cannot be read: RecursionError: too deep"
