"""Units and ``llmperf.toml``: read, or refused in one line that names the file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_llmperf.budgets.config_file import NAME, read_budget_file
from pytest_llmperf.budgets.limit import BudgetError
from pytest_llmperf.measurement.units import (
    BYTES,
    PRICE,
    REQUESTS_PER_SECOND,
    SECONDS,
    SHARE,
    UnitError,
    format_apart,
    format_value,
    is_decimal_bytes,
    parse,
    parse_money,
)
from tests.fuzz.refusals import read_or_refuse
from tests.fuzz.strategies import SCALARS, damaged, texts_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_llmperf.measurement.units import Quantity

UNITS = (
    *BYTES.units,
    *SECONDS.units,
    *SHARE.units,
    *REQUESTS_PER_SECOND.units,
    "EUR",
    "US$",
    "€",
    "e5",
    "E400",
    "nan",
    "inf",
)
QUANTITIES = (BYTES, SECONDS, REQUESTS_PER_SECOND, SHARE)
TOML = b"""[[budget]]
tests = "tests/test_chat.py::*"
engine = "vllm"
memory.peak = "16 GiB"
latency.ttft_p95 = ["300 ms", "+10 %"]
cost.total = "0.40 EUR"

[prices]
per_kwh = "0.30 EUR"
prompt_weight = 0.5
[prices.per_hour]
"NVIDIA L4*" = "0.70 EUR"

[metrics.throughput.queue]
series = "vllm:num_requests_waiting"
kind = "gauge"
unit = "1"
better = "lower"
statistic = "max"
"""
WORDS = (
    *(
        "[[budget]]",
        "[budget]",
        "[prices]",
        "[prices.per_hour]",
        "[metrics.memory.x]",
        "tests",
        '"*"',
        "memory.peak",
        "latency",
    ),
    *(
        '"16 GiB"',
        '"+10 %"',
        '"0.5 EUR"',
        "{",
        "}",
        "[",
        "]",
        '"""',
        "'",
        "\\",
        "true",
        "1979-05-27",
        "engine",
        "device",
        "#",
    ),
)


@given(text=st.one_of(texts_of(UNITS), st.text(max_size=12), SCALARS), quantity=st.sampled_from(QUANTITIES))
@example(text="1" * 2000 + " a b", quantity=BYTES)
@example(text="1e999999999 s", quantity=SECONDS)
def test_any_value_is_a_finite_number_or_refused(text: object, quantity: Quantity) -> None:
    value, refusal = read_or_refuse(lambda: parse(text, quantity), UnitError)
    assert "\n" not in refusal
    if value is not None:
        assert 0 <= value < math.inf
        assert isinstance(text, str)
        assert is_decimal_bytes(text) in (True, False, None)
    price, refusal = read_or_refuse(lambda: parse_money(text), UnitError)
    assert PRICE.name in refusal if price is None else math.isfinite(price[0])


@given(value=st.floats(), limit=st.floats(allow_nan=False, allow_infinity=False), quantity=st.sampled_from(QUANTITIES))
def test_any_number_is_shown(value: float, limit: float, quantity: Quantity) -> None:
    if math.isfinite(value):
        assert format_value(value, quantity).isprintable()
        assert format_apart(value, limit, quantity).isprintable()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    from pytest_llmperf.metrics.table import set_page_metrics

    yield tmp_path_factory.mktemp("budgets") / NAME
    set_page_metrics([])


tables = st.one_of(
    damaged(TOML, [word.encode() for word in WORDS]),
    texts_of(WORDS).map(lambda text: text.encode(errors="replace")),
)


@given(content=tables)
@example(content=b"a = " + b"[" * 10_000)
@example(content=b"a = " + b"9" * 5000)
@example(content=b"a = " + b"{b = " * 3000)
@example(content=b'[[budget]]\ntests = "*"\nmemory.peak = ' + b"[" * 500 + b"]" * 500)
def test_any_budget_file_is_read_or_refused_in_one_line(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    found, refusal = read_or_refuse(lambda: read_budget_file(file), BudgetError)
    assert "\n" not in refusal
    assert found is not None or refusal.startswith(f"{NAME}: ")
