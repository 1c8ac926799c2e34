"""Values with units: what is accepted, what is refused in which words, and what is shown."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pytest_llmperf.measurement.units import (
    BYTES,
    DECIMAL_BYTES,
    JOULES,
    JOULES_PER_TOKEN,
    REQUESTS_PER_SECOND,
    SECONDS,
    SHARE,
    TOKENS_PER_SECOND,
    WATTS,
    Quantity,
    UnitError,
    as_written,
    format_apart,
    format_change,
    format_value,
    is_decimal_bytes,
    parse,
)

EVERY = (
    BYTES, SECONDS, TOKENS_PER_SECOND, REQUESTS_PER_SECOND, JOULES, JOULES_PER_TOKEN, WATTS, SHARE,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "quantity", "value"),
    [
        ("16 GiB", BYTES, 17179869184.0),
        ("16GiB", BYTES, 17179869184.0),
        ("  16\tGiB ", BYTES, 17179869184.0),
        ("+16 GiB", BYTES, 17179869184.0),
        ("1.6e1 GiB", BYTES, 17179869184.0),
        ("16. GiB", BYTES, 17179869184.0),
        (".5 KiB", BYTES, 512.0),
        ("16 GB", BYTES, 16_000_000_000.0),
        ("1 KiB", BYTES, 1024.0),
        ("1 kB", BYTES, 1000.0),
        ("1 KB", BYTES, 1000.0),
        ("2 MiB", BYTES, 2097152.0),
        ("2 MB", BYTES, 2e6),
        ("1 TiB", BYTES, 1099511627776.0),
        ("1 TB", BYTES, 1e12),
        ("0 B", BYTES, 0.0),
        ("300 ms", SECONDS, 0.3),
        ("1.5 s", SECONDS, 1.5),
        ("2 min", SECONDS, 120.0),
        ("250 us", SECONDS, 0.00025),
        ("250 µs", SECONDS, 0.00025),
        ("800 tok/s", TOKENS_PER_SECOND, 800.0),
        ("0.5 req/s", REQUESTS_PER_SECOND, 0.5),
        ("2 kJ", JOULES, 2000.0),
        ("30 mJ/tok", JOULES_PER_TOKEN, 0.03),
        ("0.3 kW", WATTS, 300.0),
        ("100 %", SHARE, 1.0),
        ("7%", SHARE, 0.07),
    ],
)
def test_a_value_with_its_unit_is_read_into_the_base_unit(text: str, quantity: Quantity, value: float) -> None:
    assert parse(text, quantity) == value


@pytest.mark.parametrize(("unit", "in_ns"), [("us", 1_000), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)])
def test_a_duration_is_the_very_number_that_a_clock_in_nanoseconds_measures(unit: str, in_ns: int) -> None:
    for tenths in range(1, 5000):
        number = Decimal(tenths) / 10
        assert parse(f"{number} {unit}", SECONDS) == int(number * in_ns) / 1e9, f"{number} {unit}"


def test_a_share_is_the_very_number_that_a_division_gives() -> None:
    assert all(parse(f"{percent} %", SHARE) == percent / 100 for percent in range(101))


@pytest.mark.parametrize("quantity", EVERY, ids=lambda q: q.name)
def test_the_example_that_a_refusal_gives_is_itself_accepted(quantity: Quantity) -> None:
    assert parse(quantity.example, quantity) > 0
    assert quantity.units[quantity.base if quantity is not SHARE else "%"] == (0.01 if quantity is SHARE else 1.0)


@pytest.mark.parametrize("quantity", EVERY, ids=lambda q: q.name)
def test_what_is_shown_can_be_read_back(quantity: Quantity) -> None:
    assert set(quantity.shown) <= set(quantity.units)
    sizes = [quantity.units[unit] for unit in quantity.shown]
    assert sizes == sorted(sizes, reverse=True)
    for value in (0.0, 0.5, 3.0, 12345.0):
        if quantity is not BYTES or value.is_integer():
            assert parse(format_value(value, quantity), quantity) == pytest.approx(value, rel=0.005)


@pytest.mark.parametrize(
    ("value", "quantity", "message"),
    [
        (16, BYTES, "16 has no unit: write a string such as '16 GiB'"),
        (0.3, SECONDS, "0.3 has no unit: write a string such as '300 ms'"),
        (None, BYTES, "None has no unit: write a string such as '16 GiB'"),
        (True, BYTES, "True has no unit: write a string such as '16 GiB'"),
        ("16", BYTES, "'16' has no unit: write a string such as '16 GiB'"),
        ("", BYTES, "'' is not a memory size: write a string such as '16 GiB'"),
        ("GiB", BYTES, "'GiB' is not a memory size: write a string such as '16 GiB'"),
        ("much", SECONDS, "'much' is not a duration: write a string such as '300 ms'"),
        ("16 GiB 4", BYTES, "'16 GiB 4' is not a memory size: write a string such as '16 GiB'"),
        ("1 000 MiB", BYTES, "'1 000 MiB' is not a memory size: write a string such as '16 GiB'"),
        ("1,5 GiB", BYTES, "'1,5 GiB' is not a memory size: write a string such as '16 GiB'"),
        ("١٦ GiB", BYTES, "'١٦ GiB' is not a memory size: write a string such as '16 GiB'"),
        ("0x10 GiB", BYTES, "'0x10 GiB' is not a memory size: write a string such as '16 GiB'"),
        ("16 G", BYTES, "'16 G' has the unknown unit 'G': write GiB (2**30 bytes) or GB (10**9 bytes)"),
        ("16 gib", BYTES, "'16 gib' has the unknown unit 'gib': write GiB (2**30 bytes) or GB (10**9 bytes)"),
        ("16 Mb", BYTES, "'16 Mb' has the unknown unit 'Mb': write MiB (2**20 bytes) or MB (10**6 bytes)"),
        ("9 kb", BYTES, "'9 kb' has the unknown unit 'kb': write KiB (2**10 bytes) or KB (10**3 bytes)"),
        ("1 t", BYTES, "'1 t' has the unknown unit 't': write TiB (2**40 bytes) or TB (10**12 bytes)"),
        (
            "300 msec",
            SECONDS,
            "'300 msec' has the unknown unit 'msec': a duration is written in one of us, µs, ms, s, min",
        ),
        ("300 MS", SECONDS, "'300 MS' has the unknown unit 'MS': a duration is written in one of us, µs, ms, s, min"),
        (
            "8 tok/min",
            TOKENS_PER_SECOND,
            "'8 tok/min' has the unknown unit 'tok/min': a token rate is written in one of tok/s",
        ),
        ("5 ms", BYTES, "'5 ms' has the unknown unit 'ms': write MiB (2**20 bytes) or MB (10**6 bytes)"),
        ("0.1", SHARE, "'0.1' has no unit: write a string such as '10 %'"),
        ("-1 GiB", BYTES, "'-1 GiB' is negative: a memory size is at least 0"),
        ("-0.1 ms", SECONDS, "'-0.1 ms' is negative: a duration is at least 0"),
        ("nan GiB", BYTES, "'nan GiB' is not a finite memory size: write a string such as '16 GiB'"),
        ("NaN s", SECONDS, "'NaN s' is not a finite duration: write a string such as '300 ms'"),
        ("inf GiB", BYTES, "'inf GiB' is not a finite memory size: write a string such as '16 GiB'"),
        ("-Inf GiB", BYTES, "'-Inf GiB' is not a finite memory size: write a string such as '16 GiB'"),
        ("1e999 GiB", BYTES, "'1e999 GiB' is not a finite memory size: write a string such as '16 GiB'"),
        ("1e308 GiB", BYTES, "'1e308 GiB' is too large for a memory size"),
    ],
)
def test_anything_else_is_refused_in_one_line_that_says_what_would_be_right(
    value: object, quantity: Quantity, message: str
) -> None:
    with pytest.raises(UnitError) as caught:
        parse(value, quantity)
    assert str(caught.value) == message


def test_a_tiny_number_is_read_as_zero_and_not_a_crash() -> None:
    assert parse("1e-99999999999999999999 GiB", BYTES) == 0.0


@pytest.mark.parametrize(
    ("text", "decimal"),
    [("16 GB", True), ("1e3 KB", True), ("5kB", True), ("16 GiB", False), ("1.5E1MiB", False), ("12 B", None)],
)
def test_sizes_in_powers_of_1000_are_told_from_sizes_in_powers_of_1024(text: str, decimal: bool | None) -> None:
    assert is_decimal_bytes(text) is decimal


def test_a_size_is_shown_as_its_limit_was_written() -> None:
    assert as_written(BYTES, "16 GB") is DECIMAL_BYTES
    assert as_written(BYTES, "16 GiB") is BYTES
    assert as_written(BYTES, "500 B") is BYTES
    assert as_written(SECONDS, "300 ms") is SECONDS


@pytest.mark.parametrize(
    ("value", "quantity", "text"),
    [
        (17179869184, BYTES, "16.0 GiB"),
        (17179869184, DECIMAL_BYTES, "17.2 GB"),
        (1.5 * 2**40, BYTES, "1.50 TiB"),
        (1023, BYTES, "1023 B"),
        (1024, BYTES, "1.00 KiB"),
        (-3 * 2**20, BYTES, "-3.00 MiB"),
        (0, BYTES, "0 B"),
        (0.3, SECONDS, "300 ms"),
        (0.0105, SECONDS, "10.5 ms"),
        (1.25, SECONDS, "1.25 s"),
        (125.0, SECONDS, "125 s"),
        (4.5e-6, SECONDS, "4.50 us"),
        (4.5e-9, SECONDS, "0.00450 us"),
        (0, SECONDS, "0.00 ms"),
        (812.6, TOKENS_PER_SECOND, "813 tok/s"),
        (0.0033, REQUESTS_PER_SECOND, "0.00330 req/s"),
        (0.04, WATTS, "0.0400 W"),
        (0.5, JOULES_PER_TOKEN, "500 mJ/tok"),
        (0.123, SHARE, "12.3 %"),
        (1.0, SHARE, "100 %"),
        (0.00004, SHARE, "0.00400 %"),
        (0, SHARE, "0.00 %"),
    ],
)
def test_a_value_is_shown_in_the_largest_unit_that_fits(value: float, quantity: Quantity, text: str) -> None:
    assert format_value(value, quantity) == text


@pytest.mark.parametrize("quantity", [q for q in EVERY if q is not BYTES], ids=lambda q: q.name)
def test_what_is_not_zero_is_never_shown_as_zero(quantity: Quantity) -> None:
    for exponent in range(-9, 3):
        shown = format_value(10.0**exponent, quantity)
        assert any(digit in shown for digit in "123456789"), shown


@pytest.mark.parametrize(
    ("value", "limit", "quantity", "text"),
    [
        (17.3 * 2**30, 16 * 2**30, BYTES, "17.3 GiB"),
        (17182000000, 17179869184, BYTES, "16.002 GiB"),
        (16.04e9, 16e9, DECIMAL_BYTES, "16.04 GB"),
        (0.3000001, 0.3, SECONDS, "300.0001 ms"),
        (0.3, 0.3, SECONDS, "300 ms"),
        (799.96, 800.0, TOKENS_PER_SECOND, "799.96 tok/s"),
        (1025, 1024, BYTES, "1.001 KiB"),
        (0.0, 0.3, SECONDS, "0.00 ms"),
    ],
)
def test_a_value_beside_its_limit_has_the_digits_that_tell_them_apart(
    value: float, limit: float, quantity: Quantity, text: str
) -> None:
    assert format_apart(value, limit, quantity) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (-0.081, "-8.1 %"), (0.081, "+8.1 %"), (0.0, "+0.0 %"), (0.0003, "+0.03 %"), (-0.000004, "-0.0004 %"),
        (0.0005, "+0.1 %"), (0.999, "+99.9 %"), (1.0, "+100 %"), (-2.5, "-250 %"),
    ],
)  # fmt: skip
def test_a_change_keeps_its_sign_and_never_reads_as_none_when_there_is_one(share: float, text: str) -> None:
    assert format_change(share) == text
