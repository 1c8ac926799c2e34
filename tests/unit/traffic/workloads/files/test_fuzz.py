"""Whatever a file contains: it is read, or refused in one line that begins with its name. No other exception comes."""

from __future__ import annotations

import gzip
import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf import workload_file
from pytest_llmperf.traffic.workloads.files import bodies, request
from tests.helpers.file_loads import scripts, words

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_llmperf.traffic.workloads.workload import Workload

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
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,4,10\n2023-11-16 18:15:50.1805900,9,3\n",
    "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,GPT-4,4,10,14,API log\n",
    'question,system_prompt,output_tokens_count\n"a, b",c,5\n',
]
VALUES: list[Any] = [
    *(None, True, -1, 0, 1, 0.5, 2**31, 2**63, 2**70, 10**400, 1e308, float("nan"), float("inf"), -0.0),
    *("", "a", "\ud800", "\0", "9", "2024-01-01", [], [[]], [None], [2**64, True], {}, {"role": "user"}, [USER], BODY),
]
KEYS = [*sorted({*request._KNOWN, *request._NOT_READ, *bodies.BATCH}), "", "a", "prompt_99", "prompt_-1"]


def change(random: Random, value: Any) -> Any:
    """A copy of a value of JSON in which something is another."""
    if random.random() < 0.2 or not value or not isinstance(value, dict | list):
        return random.choice(VALUES)
    if isinstance(value, list):
        at = random.randrange(len(value))
        return [*value[:at], *([change(random, value[at])] if random.random() < 0.8 else []), *value[at + 1 :]]
    key = random.choice([*value])
    kept = {other: one for other, one in value.items() if other != key or random.random() < 0.8}
    name = key if random.random() < 0.7 else random.choice(KEYS)
    return {**kept, name: change(random, value[key])}


def damage(random: Random, data: bytes) -> bytes:
    """Bytes of which some are others, missing, or there twice."""
    for _ in range(random.choice((0, 0, 0, 1, 3))):
        at, stop = sorted(random.randrange(len(data) + 1) for _ in range(2))
        new = random.choice((b"", data[at : at + 9], random.randbytes(3), b"\n", b'"', b"\r", b"\0", b"[" * 3000))
        data = data[:at] + new + data[at if random.random() < 0.5 else stop :]
    return data


def write(random: Random) -> bytes:
    """A file of some format, with something in it that may be wrong."""
    if random.random() < 0.2:
        data = random.choice(CSV).encode()
    else:
        entry = random.choice(ENTRIES)
        entries = [entry if random.random() < 0.7 else change(random, entry) for _ in range(random.choice((1, 2, 4)))]
        forms = ("\n".join(map(json.dumps, entries)), json.dumps(entries, indent=1), json.dumps({"data": entries}))
        data = random.choice(forms).encode()
    data = damage(random, data)
    return damage(random, gzip.compress(data)) if random.random() < 0.1 else data


def read_or_refuse(path: Path, **arguments: Any) -> tuple[Workload | None, str]:
    """The workload of a file, or why it is refused."""
    try:
        return workload_file(path, **arguments), ""
    except ValueError as error:
        return None, str(error)


@pytest.mark.parametrize("seed", range(6))
def test_a_file_is_read_or_refused_in_one_line(seed: int, tmp_path: Path) -> None:
    path, read = tmp_path / "f", 0
    for number in range(250):
        random = Random(f"{seed} {number}")
        path.write_bytes(write(random))
        given = {"time_unit": random.choice((None, "s", "ms")), "block_tokens": random.choice((None, None, 16))}
        load, refusal = read_or_refuse(path, tokenizer=words, chat=random.choice((None, True)), **given)
        if load is None:
            assert "\n" not in refusal, (seed, number)
            assert refusal.startswith(("f", "time_unit=", "block_tokens=")), (seed, number, refusal)
            continue
        read += 1
        assert json.dumps([load.describe(), str(load)])
        assert load.requests == sum(len(script.turns) for script in scripts(load)), (seed, number)
    assert read > 20


def test_bytes_of_any_kind_are_refused_by_the_name_of_the_file(tmp_path: Path) -> None:
    for number in range(300):
        random = Random(number)
        path = tmp_path / "f"
        path.write_bytes(random.choice((b"", b"{", b"[", b"\x1f\x8b", b'{"')) + random.randbytes(random.randrange(40)))
        with pytest.raises(ValueError, match=r"^f\b"):
            workload_file(path)
