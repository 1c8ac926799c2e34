"""Pages of metrics: read as they were written, or refused with a line that names the line."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from pytest_llmperf.system.prometheus import parse
from tests.fuzz.refusals import read_or_refuse
from tests.fuzz.strategies import damaged, texts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 1.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="a\\"b\\\\c\\n"} 5 1700000000000
llamacpp:tokens_predicted_total 7

up NaN
"""
WORDS = (
    *(
        "up",
        "a:b",
        "{",
        "}",
        'le="1"',
        'le="1",',
        'a="',
        '"',
        "\\",
        '\\"',
        "\\n",
        "\\x",
        ",",
        "=",
        "#",
        "# TYPE up gauge",
    ),
    *("NaN", "+Inf", "-inf", "infinity", "1_0", "0x5", "1e5", ".", "+", "\r", "\u2028", "\x85", "\xa0", "١"),
)
pages = damaged(PAGE, [word.encode() for word in WORDS])
NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,5}", fullmatch=True)
LABELS = st.dictionaries(st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,4}", fullmatch=True), st.text(max_size=6), max_size=3)


def write(name: str, labels: Mapping[str, str], value: float, stamp: int | None) -> str:
    def escape(text: str) -> str:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    inner = ",".join(f'{key}="{escape(text)}"' for key, text in labels.items())
    return f"{name}{{{inner}}} {value!r}{'' if stamp is None else f' {stamp}'}\n"


@given(st.lists(st.tuples(NAMES, LABELS, st.floats(), st.none() | st.integers(-(2**63), 2**63)), max_size=5))
def test_a_page_is_read_as_it_was_written(lines: list[tuple[str, dict[str, str], float, int | None]]) -> None:
    found = parse("".join(write(*line) for line in lines))
    assert [(one.name, dict(one.labels), one.timestamp_ms) for one in found] == [
        (name, labels, stamp) for name, labels, _, stamp in lines
    ]
    assert all(a.value == b[2] or math.isnan(a.value) == math.isnan(b[2]) for a, b in zip(found, lines, strict=True))


@given(
    text=st.one_of(
        damaged(PAGE, [word.encode() for word in WORDS]).map(lambda d: d.decode(errors="replace")), texts_of(WORDS)
    )
)
@example(text="up 1 " + "9" * 5000)
@example(text="up " + "9" * 5000)
def test_any_page_is_read_or_refused_by_its_line(text: str) -> None:
    samples, refusal = read_or_refuse(lambda: parse(text), ValueError)
    if samples is None:
        assert re.match(r"line \d+ ", refusal)
        assert refusal.isprintable()
    else:
        assert len(samples) <= text.count("\n") + 1
