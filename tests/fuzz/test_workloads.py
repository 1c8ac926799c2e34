"""Workload files of every format: read, or refused in one line that begins with the name of the file."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_llmperf import workload_file
from pytest_llmperf.traffic.workloads.files import bodies, request
from tests.fuzz.refusals import read_or_refuse
from tests.fuzz.strategies import damaged, documents
from tests.helpers.file_loads import scripts, words

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis.strategies import DrawFn

USER = {"role": "user", "content": "one two"}
BODY = {"model": "m", "messages": [USER], "max_tokens": 4, "temperature": 0.5, "stop": ["."]}
ENTRIES: list[dict[str, Any]] = [
    {"timestamp": 500, "input_length": 20, "output_length": 3, "hash_ids": [1, 2]},
    {"chat_id": 1, "parent_chat_id": -1, "timestamp": 0.5, "input_length": 20, "type": "text", "turn": 1},
    {"prompt": "a", "output_tokens": 3},
    {"messages": [USER], "tools": [], "extra": {"seed": 1}},
    {"id": "a", "conversations": [{"from": "human", "value": "a b"}, {"from": "gpt", "value": "c"}]},
    {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": BODY},
    {"session_id": "a", "turns": [{"text": "a", "timestamp": 1}, {"text": "b", "delay": 5, "output_length": 2}]},
    {"prompt_0": "a", "prompt_1": "b", "output_tokens_count_0": 3, "prefix": "c"},
    {"payload": BODY, "timestamp": 5},
    {"session_id": "a", "payloads": [BODY, BODY]},
    BODY,
]
CSV = [
    b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,4,10\n2023-11-16 18:15:50.1805900,9,3\n",
    b"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,GPT-4,4,10,14,API log\n",
    b'question,system_prompt,output_tokens_count\n"a, b",c,5\n',
]
KEYS = [*sorted({*request._KNOWN, *request._NOT_READ, *bodies.BATCH}), "prompt_99", "prompt_-1"]
PIECES = (b"[" * 3000, b"{", b"}", b"[", b"]", b",", b"9" * 5000, b"1e999", b"\xff", b"2024-01-01")


@st.composite
def files(draw: DrawFn) -> bytes:
    """A file of some format, with something in it that may be wrong, and at times compressed."""
    if draw(st.integers(0, 4)) == 0:
        data = draw(st.sampled_from(CSV))
    else:
        good = draw(st.sampled_from(ENTRIES))
        entries = draw(st.lists(st.just(good) | documents([good], KEYS), min_size=1, max_size=3))
        forms = ("\n".join(map(json.dumps, entries)), json.dumps(entries, indent=1), json.dumps({"data": entries}))
        data = draw(st.sampled_from(forms)).encode()
    if draw(st.booleans()):
        data = draw(damaged(data, PIECES))
    return draw(damaged(gzip.compress(data, mtime=0))) if draw(st.integers(0, 9)) == 0 else data


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workloads") / "f"


@given(
    content=files(),
    time_unit=st.sampled_from((None, "s", "ms")),
    block_tokens=st.sampled_from((None, None, 16)),
    chat=st.sampled_from((None, True)),
)
@example(content=b'{"prompt": ' + b"[" * 100_000, time_unit=None, block_tokens=None, chat=None)
@example(content=b'{"input_length": ' + b"9" * 5000 + b"}", time_unit=None, block_tokens=None, chat=None)
def test_a_file_is_read_or_refused_in_one_line(
    content: bytes, time_unit: str | None, block_tokens: int | None, chat: bool | None, file: Path
) -> None:
    file.write_bytes(content)
    arguments: dict[str, Any] = {"time_unit": time_unit, "block_tokens": block_tokens, "chat": chat}
    load, refusal = read_or_refuse(lambda: workload_file(file, tokenizer=words, **arguments), ValueError)
    if load is None:
        assert "\n" not in refusal
        assert refusal.startswith(("f", "time_unit=", "block_tokens="))
    else:
        assert json.dumps([load.describe(), str(load)])
        assert load.requests == sum(len(script.turns) for script in scripts(load))


def test_good_files_are_read(file: Path) -> None:
    for content in [*CSV, *(json.dumps(entry).encode() for entry in ENTRIES)]:
        file.write_bytes(content)
        assert workload_file(file, tokenizer=words).requests


@given(start=st.sampled_from((b"", b"{", b"[", b"\x1f\x8b", b'{"')), more=st.binary(max_size=40))
def test_bytes_of_any_kind_are_refused_by_the_name_of_the_file(start: bytes, more: bytes, file: Path) -> None:
    file.write_bytes(start + more)
    with pytest.raises(ValueError, match=r"^f\b"):
        workload_file(file)
