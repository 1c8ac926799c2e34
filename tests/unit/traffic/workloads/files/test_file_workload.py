from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf import workload_file
from tests.helpers.file_loads import outputs, prompts, times, words

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE = [{"role": "user", "content": "hello"}]


def written(folder: Path, *lines: object) -> Path:
    path = folder / "requests.jsonl"
    path.write_text("".join(json.dumps(line) + "\n\n" for line in lines), encoding="utf-8")
    return path


def saved(folder: Path, data: str | bytes, name: str = "requests.jsonl") -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def refusal(path: Path, **arguments: Any) -> str:
    with pytest.raises(ValueError, match=r"\S") as error:
        workload_file(path, **arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_of_prompts_is_sent_in_its_order(tmp_path: Path) -> None:
    load = workload_file(written(tmp_path, {"prompt": "a"}, {"prompt": "b", "max_tokens": 3}), output_tokens=7)
    assert (prompts(load), outputs(load), times(load)) == (["a", "b"], [7, 3], [None, None])
    assert (load.requests, load.has_times, load.needs_texts, load.chat) == (2, False, False, False)
    assert str(load) == "the 2 requests of requests.jsonl"


def test_a_file_of_messages_is_a_chat(tmp_path: Path) -> None:
    load = workload_file(written(tmp_path, {"messages": MESSAGE}))
    assert load.chat
    assert prompts(load) == [MESSAGE]


@pytest.mark.parametrize("key", ["output_length", "output_tokens", "max_tokens", "max_completion_tokens"])
def test_the_length_of_an_answer_has_the_names_that_files_give_it(key: str, tmp_path: Path) -> None:
    assert outputs(workload_file(written(tmp_path, {"id": "1", "prompt": "a", key: 10}))) == [10]


def test_a_length_that_no_line_gives_is_drawn_and_is_the_same_each_time(tmp_path: Path) -> None:
    load = workload_file(written(tmp_path, *[{"prompt": "a"}] * 8), output_tokens="1-1000")
    assert len(set(outputs(load))) > 1
    assert outputs(load) == outputs(load)


# --------------------------------------------------------------------------------------------------------------- traces


def test_a_trace_is_sent_at_its_times_counted_from_the_first_and_as_fast_as_asked(tmp_path: Path) -> None:
    lines = [
        {"timestamp": stamp, "input_length": 9, "output_length": n} for n, stamp in ((3, 7000), (1, 6000), (2, 6500))
    ]
    load = workload_file(written(tmp_path, *lines), speed=2)
    assert load.has_times
    assert times(load) == [0.0, 0.25, 0.5]
    assert outputs(load) == [1, 2, 3]
    assert [words(prompt) for prompt in prompts(load)] == [9, 9, 9]
    assert str(load) == "the 3 requests of requests.jsonl, recorded in 1.00 s at 2.00 req/s, sent 2 times as fast"


def trace(folder: Path, *stamps: float) -> Path:
    return written(folder, *({"timestamp": stamp, "input_length": 9} for stamp in stamps))


@pytest.mark.parametrize(
    "stamps",
    [
        (0.7, 1.2, 3.4),  # seconds with fractions
        (0, 1, 2, 4),  # whole seconds
        (0, 2e9, 4e9),  # nanoseconds
    ],
)
def test_times_that_are_hardly_milliseconds_need_a_unit(stamps: tuple[float, ...], tmp_path: Path) -> None:
    refused = refusal(trace(tmp_path, *stamps))
    assert refused.startswith("requests.jsonl:")
    assert "timestamp" in refused
    assert "give time_unit='s' or another of s, ms, us, ns" in refused


@pytest.mark.parametrize(("unit", "seconds"), [("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)])
def test_the_unit_of_times_may_be_given(unit: str, seconds: float, tmp_path: Path) -> None:
    load = workload_file(trace(tmp_path, 0.5, 1.5, 4.5), time_unit=unit)
    assert times(load) == pytest.approx([0.0, seconds, 4 * seconds])


@pytest.mark.parametrize("size", [1.0, 1e3, 1e6, 1e9])
def test_times_that_are_dates_tell_their_unit(size: float, tmp_path: Path) -> None:
    load = workload_file(trace(tmp_path, *(second * size for second in (1.7e9, 1.7e9 + 1, 1.7e9 + 4))))
    assert times(load) == pytest.approx([0.0, 1.0, 4.0])


def test_dates_and_numbers_are_not_mixed(tmp_path: Path) -> None:
    rows = "timestamp,input_length\n2024-05-10 00:00:00,9\n500,9\n"
    assert refusal(saved(tmp_path, rows)).startswith("requests.jsonl:3: timestamp is in another unit")


def test_times_that_are_all_the_same_need_no_unit(tmp_path: Path) -> None:
    assert times(workload_file(trace(tmp_path, 0.5, 0.5))) == [0.0, 0.0]


def test_a_trace_of_bailian_has_seconds_and_blocks_of_16_tokens(tmp_path: Path) -> None:
    line = {"chat_id": 1, "parent_chat_id": -1, "turn": 1, "type": "text", "input_length": 40, "output_length": 8}
    lines = [{**line, "timestamp": stamp, "hash_ids": [7, 8, last]} for stamp, last in ((0.25, 1), (1.75, 2))]
    load = workload_file(written(tmp_path, *lines))
    assert times(load) == [0.0, 1.5]
    first, second = (prompt.split() for prompt in prompts(load))
    assert first[:32] == second[:32]
    assert first[32:] != second[32:]
    assert "leave out time_unit" in refusal(written(tmp_path, *lines), time_unit="ms")


@pytest.mark.parametrize("argument", [{"time_unit": "s"}, {"speed": 2.0}, {"block_tokens": 16}])
def test_an_argument_that_a_file_has_no_use_for_is_refused(argument: dict[str, Any], tmp_path: Path) -> None:
    refused = refusal(written(tmp_path, {"prompt": "a"}), **argument)
    assert next(iter(argument)) in refused
    assert "requests.jsonl has no" in refused


@pytest.mark.parametrize(
    "argument",
    [{"time_unit": "m"}, {"block_tokens": 0}, {"speed": 0}, {"speed": True}, {"speed": "2"}, {"speed": float("inf")}],
)
def test_an_argument_that_is_impossible_is_named(argument: dict[str, Any], tmp_path: Path) -> None:
    assert next(iter(argument)) in refusal(written(tmp_path, {"prompt": "a"}), **argument)


# --------------------------------------------------------------------------------------------------------------- blocks


def test_equal_blocks_of_a_trace_are_equal_texts(tmp_path: Path) -> None:
    lines = [{"input_length": length, "hash_ids": blocks} for length, blocks in ((1100, [1, 2]), (600, [1, 2**70]))]
    long, short = (prompt.split() for prompt in prompts(workload_file(written(tmp_path, *lines))))
    assert (len(long), len(short)) == (1100, 600)
    assert long[:512] == short[:512]
    assert long[512:600] != short[512:]


def blocks(folder: Path, *lines: tuple[int, int]) -> Path:
    return written(folder, *({"input_length": length, "hash_ids": list(range(count))} for length, count in lines))


@pytest.mark.parametrize(("lines", "tokens"), [([(80, 5), (9, 1)], 16), ([(600, 2), (20, 1)], 512), ([(16, 1)], 512)])
def test_the_tokens_of_a_block_are_told_from_the_lengths(lines: list[Any], tokens: int, tmp_path: Path) -> None:
    load = workload_file(blocks(tmp_path, *lines))
    assert load.block_tokens == tokens  # type: ignore[attr-defined]


def test_the_tokens_of_a_block_may_be_given(tmp_path: Path) -> None:
    lines = [{"input_length": 160, "hash_ids": [1, 2, 3, 4, last]} for last in (5, 6)]
    first, second = (p.split() for p in prompts(workload_file(written(tmp_path, *lines), block_tokens=32)))
    assert (first[:128], len(first)) == (second[:128], 160)
    assert first[128:] != second[128:]


@pytest.mark.parametrize(
    ("lines", "given", "place"),
    [
        (
            [(80, 5), (80, 6)],
            None,
            "requests.jsonl:3: hash_ids has 6 blocks, which do not fit an input_length of 80 in",
        ),
        ([(160, 5)], None, "requests.jsonl:1: hash_ids has 5 blocks"),
        ([(80, 5)], 512, "requests.jsonl:1: hash_ids has 5 blocks"),
        ([(1100, 1)], 512, "requests.jsonl:1: hash_ids has 1 blocks"),
        ([(20, 1)], None, "requests.jsonl: the numbers of hash_ids fit blocks of 512 and of 16 tokens"),
    ],
)
def test_blocks_that_do_not_fit_the_length_are_refused(
    lines: list[Any], given: int | None, place: str, tmp_path: Path
) -> None:
    assert refusal(blocks(tmp_path, *lines), block_tokens=given).startswith(place)


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "contains no request"),
        ([{"prompt": "a"}, {"txt": "b"}], "requests.jsonl:3: unknown key 'txt'"),
        (
            [{"prompt": "a", "output_token": 9}],
            "requests.jsonl:1: unknown key 'output_token'; did you mean output_tokens?",
        ),
        ([{"prompt": "a", "temperature": 1}], "unknown key 'temperature'; known are prompt, "),
        ([{"prompt": "a", "turn": 1}], "unknown key 'turn'"),
        ([{"id": "1"}], "an entry has one of prompt, messages, input_length, "),
        ([{"prompt": "a", "input_length": 4}], "this one has prompt and input_length"),
        ([{"prompt": 5}], "prompt is 5: it must be a text"),
        ([{"prompt": ["a"]}], "prompt is ['a']: it must be a text"),
        ([{"prompt": ""}], "prompt is ''"),
        ([{"messages": []}], "messages is []"),
        ([{"messages": ["a"]}], "messages is ['a']"),
        ([{"prompt": "a", "max_tokens": 0}], "max_tokens is 0: it must be a whole number of at least 1"),
        ([{"prompt": "a", "max_tokens": 1, "output_length": 2}], "output_length and max_tokens both say"),
        ([{"prompt": "a", "hash_ids": [1]}], "hash_ids are the blocks of a prompt of input_length tokens"),
        ([{"input_length": 9, "hash_ids": 1}], "hash_ids is 1: it must be a list"),
        ([{"timestamp": 0, "input_length": 9, "output_length": 1, "hash_ids": 0}], "hash_ids is 0: it must be a list"),
        ([{"input_length": 9, "hash_ids": [True]}], "hash_ids is [True]"),
        ([{"input_length": 9, "hash_ids": ["a"]}], "hash_ids is ['a']"),
        ([{"prompt": "a", "timestamp": 1}, {"prompt": "b"}], "1 of 2 entries have a timestamp"),
        ([{"prompt": "a"}, {"messages": MESSAGE}], "mixes prompts and messages"),
        ([{"prompt": "a"}, 5], "requests.jsonl:3: 5 is not an object"),
    ],
)
def test_a_line_that_cannot_be_understood_is_named(lines: list[object], message: str, tmp_path: Path) -> None:
    assert message in refusal(written(tmp_path, *lines))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, True, "9", [9], 10**400])
@pytest.mark.parametrize("key", ["timestamp", "input_length", "output_length"])
def test_an_impossible_number_is_refused_with_its_line_and_key(key: str, value: object, tmp_path: Path) -> None:
    line = {"timestamp": 1, "input_length": 9, "output_length": 9}
    assert refusal(written(tmp_path, line, {**line, key: value})).startswith(f"requests.jsonl:3: {key} is ")


@pytest.mark.parametrize("value", [0, 9.5, 10**12])
@pytest.mark.parametrize("key", ["input_length", "output_length"])
def test_an_impossible_length_is_refused_with_its_line_and_key(key: str, value: object, tmp_path: Path) -> None:
    line = {"input_length": 9, "output_length": 9, key: value}
    assert refusal(written(tmp_path, line)).startswith(f"requests.jsonl:1: {key} is {value!r}: it must be a whole")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"prompt": "a"}\n{"prompt": "b"', "requests.jsonl:2: not JSON (Expecting ',' delimiter at column 15)"),
        (
            b'{"prompt": "a"}\n{"prompt": "\xff"}',
            "requests.jsonl:2: the text is not UTF-8 (invalid start byte at byte 13)",
        ),
        (b'{"prompt": "a", "prompt": "b"}', "requests.jsonl:1: 'prompt' is given twice"),
        (b'{"messages": ' + b"[" * 100_000, "requests.jsonl:1: the JSON is nested too deep"),
        (b"Once upon a time", "requests.jsonl:1: 'Once upon a time' is neither a JSON object nor a CSV header"),
        (b"\xff\xfe{\0", "requests.jsonl is text in UTF-16: give JSON lines"),
        (b"\xff\xfe\0\0{\0\0\0", "requests.jsonl is text in UTF-32: give JSON lines"),
        (b"{\0}\0", "requests.jsonl is no text in UTF-8, but perhaps in UTF-16: give JSON lines"),
        (
            gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0),
            "requests.jsonl is compressed by gzip twice: give JSON lines",
        ),
        (b"PAR1\0\0", "requests.jsonl is a Parquet file: give JSON lines"),
        (b"PK\x03\x04", "requests.jsonl is a zip archive: give JSON lines"),
        (b"", "requests.jsonl contains no request"),
        (b"[]", "requests.jsonl contains no request"),
        (b'[{"prompt": "a"},\n 5]', "requests.jsonl:2: an entry of the list is not an object"),
        (b'[{"prompt": "a"},\n{"prompt": }]', "requests.jsonl:2: not JSON (Expecting value"),
        (b'[{"prompt": "a"}\n', "requests.jsonl:2: not JSON (the end of the file in place of ']')"),
        (b'[{"prompt": "a', "requests.jsonl:1: not JSON (Unterminated string"),
        (b'[{"prompt": "a"}] {}', "requests.jsonl:1: there is more text behind the end of the list"),
        (b'[{"prompt": "\xff"}]', "requests.jsonl:1 or later: the text is not UTF-8"),
        (b'[\n{"id": ' + b"[" * 100_000, "requests.jsonl:2: the JSON is nested too deep"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(data: bytes, message: str, tmp_path: Path) -> None:
    assert refusal(saved(tmp_path, data)).startswith(message)


# -------------------------------------------------------------------------------------------------------------- formats


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = saved(tmp_path, b'\xef\xbb\xbf{"prompt": "a"}\r\n\r\n{"prompt": "b"}\r\n')
    assert prompts(workload_file(path)) == ["a", "b"]


@pytest.mark.parametrize("name", ["requests.jsonl.gz", "requests"])
def test_a_file_compressed_by_gzip_is_read_whatever_its_name(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path, gzip.compress(b'\xef\xbb\xbf{"prompt": "a"}\n'), name)
    assert prompts(workload_file(path)) == ["a"]


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b'{"prompt": "a"}\n' * 50)
    assert refusal(saved(tmp_path, whole[:-9])).startswith("requests.jsonl is damaged")
    assert refusal(saved(tmp_path, whole[:20] + b"\xff" * 9 + whole[29:])).startswith("requests.jsonl is damaged")
    assert refusal(saved(tmp_path, gzip.compress(b'{"promt": "a"}'))).startswith(
        "requests.jsonl:1: unknown key 'promt'"
    )


def test_a_list_of_requests_is_read_in_pieces(tmp_path: Path) -> None:
    entries = [{"prompt": f"{number} " + "ä" * 70_000} for number in range(40)]
    for indent in (None, 1):
        load = workload_file(saved(tmp_path, "\n" + json.dumps(entries, indent=indent, ensure_ascii=False)))
        assert prompts(load) == [entry["prompt"] for entry in entries]


def said(**by: str) -> list[dict[str, str]]:
    return [{"from": role, "value": text} for role, text in by.items()]


SHAREGPT = [
    {"id": "a", "conversations": said(human="one two", gpt="three four five")},
    {"id": "b", "conversations": []},
    {"id": "c", "conversations": said(system="be kind", human="six", gpt="seven")},
    {"id": "d", "conversations": said(gpt="eight")},
]


def test_of_sharegpt_the_first_message_of_the_user_is_sent(tmp_path: Path) -> None:
    path = saved(tmp_path, json.dumps(SHAREGPT), "sharegpt.json")
    load = workload_file(path, output_tokens=7)
    assert load.chat
    assert [[m["content"] for m in messages] for messages in prompts(load)] == [["one two"], ["be kind", "six"]]
    assert outputs(load) == [7, 7]
    assert str(load) == "the 2 requests of sharegpt.json, 2 conversations without a message of the user left out"
    assert outputs(workload_file(path, tokenizer=words)) == [3, 1]


@pytest.mark.parametrize("conversations", ["a", [5], [{"from": "human"}]])
def test_a_conversation_that_is_none_is_refused_with_its_line(conversations: object, tmp_path: Path) -> None:
    path = saved(tmp_path, json.dumps([*SHAREGPT, {"conversations": conversations}], indent=0))
    assert ": conversations " in refusal(path)


def test_the_csv_of_azure_is_a_trace_with_dates(tmp_path: Path) -> None:
    rows = (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,4,10\n2023-11-16 18:15:50.1805900,9,3\n"
    )
    load = workload_file(saved(tmp_path, rows, "azure.csv"))
    assert times(load) == pytest.approx([0.0, 3.5])
    assert ([words(prompt) for prompt in prompts(load)], outputs(load)) == ([4, 9], [10, 3])


def test_the_csv_of_burstgpt_is_a_trace_in_seconds(tmp_path: Path) -> None:
    header = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"
    rows = f"{header}\n5,GPT-4,4,10,14,API log\n45.5,ChatGPT,9,3,12,API log\n"
    load = workload_file(saved(tmp_path, rows, "burst.csv"))
    assert (times(load), outputs(load)) == ([0.0, 40.5], [10, 3])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("timestamp,input_length,colour\n", "requests.jsonl:1: unknown column 'colour'"),
        ("timestamp,Timestamp\n1,1\n", "requests.jsonl:1: 2 columns give timestamp"),
        ("timestamp,input_length\n0,9\n500\n", "requests.jsonl:3: the row has 1 fields, the header has 2"),
        ("timestamp,input_length\n0,nine\n", "requests.jsonl:2: input_length is 'nine'"),
        ("timestamp,input_length\nyesterday,9\n", "requests.jsonl:2: timestamp is 'yesterday'"),
        ("timestamp,input_length\nnan,9\n", "requests.jsonl:2: timestamp is nan"),
        ("timestamp,input_length\n0,9\n1,9\n", "requests.jsonl: the 2 values of timestamp are 1 apart on average"),
        ("Timestamp,Request tokens,Response tokens\n1,9,0\n", "requests.jsonl:2: Response tokens is 0"),
        ('prompt\n"a\n', "requests.jsonl:2: "),
        ("prompt\n" + "a" * 200_000, "requests.jsonl:2: field larger than field limit"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_with_its_line(rows: str, message: str, tmp_path: Path) -> None:
    assert refusal(saved(tmp_path, rows)).startswith(message)


def test_a_file_cannot_grow(tmp_path: Path) -> None:
    load = workload_file(written(tmp_path, {"prompt": "a"}))
    with pytest.raises(
        ValueError, match=r"^until='decided' needs more requests than requests.jsonl holds, .* leave it"
    ):
        load.grow(1)
