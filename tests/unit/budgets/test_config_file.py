"""Budgets in llmperf.toml: what they say, on which tests they stand, and how mistakes are told."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.config_file import FileBudget, find_limits, read_budget_file
from pytest_llmperf.budgets.limit import BudgetError, merge, select
from pytest_llmperf.measurement.pricing.prices import Prices
from tests.helpers.streams import CPU, L4

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = """
[[budget]]
tests = "tests/test_chat.py::*"
engine = "vllm"
device = "NVIDIA L4"
memory.peak = "16 GiB"
memory.kv_waste = "10 %"
latency.ttft_p95 = "300 ms"

[[budget]]
tests = "*"

[budget.throughput]
output = "800 tok/s"

[budget.energy]
total = "500 J"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "llmperf.toml"


def read(file: Path, text: str) -> tuple[FileBudget, ...]:
    file.write_text(text, encoding="utf-8")
    return read_budget_file(file).budgets


def chosen(budgets: tuple[FileBudget, ...], nodeid: str) -> dict[str, str]:
    return {limit.name: limit.text for limit in select(merge([find_limits(nodeid, budgets)]), L4)}


def test_a_table_holds_the_keys_of_all_markers_with_their_engine_and_device(file: Path) -> None:
    chat, every = read(file, WHOLE)
    assert chat.tests == "tests/test_chat.py::*"
    assert [(limit.name, limit.text) for limit in chat.limits] == [
        ("memory.peak", "16 GiB"), ("memory.kv_waste", "10 %"), ("latency.ttft_p95", "300 ms"),
    ]  # fmt: skip
    assert {(limit.engine, limit.device) for limit in chat.limits} == {("vllm", "NVIDIA L4")}
    assert [(limit.name, limit.engine, limit.device) for limit in every.limits] == [
        ("throughput.output", None, None), ("energy.total", None, None),
    ]  # fmt: skip
    assert chat.limits[0].source == "llmperf.toml: [[budget]] 1 memory"


def test_a_table_stands_on_the_tests_that_its_glob_means(file: Path) -> None:
    budgets = read(file, WHOLE)
    assert set(chosen(budgets, "tests/test_chat.py::test_answer")) == {
        "memory.peak", "memory.kv_waste", "latency.ttft_p95", "throughput.output", "energy.total",
    }  # fmt: skip
    assert set(chosen(budgets, "tests/test_other.py::test_answer")) == {"throughput.output", "energy.total"}


def test_the_node_id_of_a_parametrized_test_may_be_written_as_pytest_prints_it(file: Path) -> None:
    budgets = read(file, "[[budget]]\ntests = 'test_a.py::test_it[x-1]'\nmemory.peak = '1 GiB'")
    assert chosen(budgets, "test_a.py::test_it[x-1]") == {"memory.peak": "1 GiB"}


def test_of_two_tables_that_limit_the_same_the_later_one_holds(file: Path) -> None:
    general = "[[budget]]\ntests = '*'\nmemory.peak = '16 GiB'\nmemory.growth = '1 GiB'\n"
    special = "[[budget]]\ntests = '*chat*'\nmemory.peak = '8 GiB'\n"
    assert chosen(read(file, general + special), "chat") == {"memory.peak": "8 GiB", "memory.growth": "1 GiB"}
    assert chosen(read(file, special + general), "chat") == {"memory.peak": "16 GiB", "memory.growth": "1 GiB"}


def test_a_later_table_for_a_device_holds_on_that_device_only(file: Path) -> None:
    budgets = read(
        file,
        "[[budget]]\ntests = '*'\nmemory.peak = '16 GiB'\n"
        "[[budget]]\ntests = '*'\ndevice = 'NVIDIA L4'\nmemory.peak = '8 GiB'\n",
    )
    found = merge([find_limits("test_a", budgets)])
    assert [limit.text for limit in select(found, L4)] == ["8 GiB"]
    assert [limit.text for limit in select(found, CPU)] == ["16 GiB"]


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "budget = []"])
def test_a_file_may_hold_no_budget_at_all(file: Path, text: str) -> None:
    assert read(file, text) == ()


IN_TABLE_1 = "llmperf.toml: [[budget]] 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[budget]", "llmperf.toml: not valid TOML: "),
        ("a = 1\na = 2", "llmperf.toml: not valid TOML: Cannot overwrite a value"),
        ("[[budgets]]\ntests = '*'", "llmperf.toml: unknown key 'budgets'; it holds [[budget]] tables"),
        ("[budget]\ntests = '*'", "llmperf.toml: budget is not a list of tables; write [[budget]]"),
        ("budget = [1]", "llmperf.toml: budget is not a list of tables; write [[budget]]"),
        ("budget = 'x'", "llmperf.toml: budget is not a list of tables; write [[budget]]"),
        (
            "[[budget]]\ntest = '*'",
            f"{IN_TABLE_1}: unknown key 'test'; it takes tests, device, engine, memory, throughput, latency, energy",
        ),
        ("[[budget]]\nmemory.peak = '1 GiB'", f"{IN_TABLE_1}: tests must be a glob over node ids, such as tests = "),
        ("[[budget]]\ntests = ''\nmemory.peak = '1 GiB'", f"{IN_TABLE_1}: tests must be a glob over node ids"),
        ("[[budget]]\ntests = ['a', 'b']\nmemory.peak = '1 GiB'", f"{IN_TABLE_1}: tests must be a glob over node ids"),
        ("[[budget]]\ntests = '*'", f"{IN_TABLE_1}: limits nothing; give one of memory, throughput, latency, energy"),
        ("[[budget]]\ntests = '*'\nmemory = '1 GiB'", f"{IN_TABLE_1}: memory is not a table; write memory.KEY = '...'"),
        ("[[budget]]\ntests = '*'\nmemory = {}", f"{IN_TABLE_1} memory: limits nothing; give at least one of peak, "),
        ("[[budget]]\ntests = '*'\nmemory.peek = '1 GiB'", f"{IN_TABLE_1} memory: unknown key 'peek'; it takes peak, "),
        (
            "[[budget]]\ntests = '*'\nmemory.peak = 16",
            f"{IN_TABLE_1} memory: peak=16 has no unit: write a string such as ",
        ),
        ("[[budget]]\ntests = '*'\nmemory.peak = inf", f"{IN_TABLE_1} memory: peak=inf has no unit: write a string"),
        (
            "[[budget]]\ntests = '*'\nmemory.peak.max = '1 GiB'",
            f"{IN_TABLE_1} memory: peak={{'max': '1 GiB'}} has no unit",
        ),
        ("[[budget]]\ntests = '*'\nlatency.ttft = '1 s'", f"{IN_TABLE_1} latency: 'ttft' needs a percentile, such as "),
        (
            "[[budget]]\ntests = '*'\nlatency.ttft_p100 = '1 s'",
            f"{IN_TABLE_1} latency: 'ttft_p100' asks for percentile 100",
        ),
        (
            "[[budget]]\ntests = '*'\ndevice = 4\nmemory.peak = '1 B'",
            f"{IN_TABLE_1} memory: device=4 is not a name or glob",
        ),
        (
            "[[budget]]\ntests = '*'\nmemory.peak = '16 GB'\nmemory.growth = '1 GiB'",
            f"{IN_TABLE_1} memory: mixes peak='16 GB'",
        ),
        (
            "[[budget]]\ntests = '*'\nmemory.peak = '1 GiB'\n[[budget]]\ntests = '*'\nmemory.peak = '2 GiB'",
            "llmperf.toml: [[budget]] 2 memory: memory.peak is limited twice for '*'; "
            "llmperf.toml: [[budget]] 1 memory limits it already",
        ),
        (
            "[[budget]]\ntests = '*'\nlatency = {ttft_p95 = '1 s', ttft_p095 = '2 s'}",
            f"{IN_TABLE_1} latency: latency.ttft_p95 is limited twice for '*'; ",
        ),
        (
            "[[budget]]\ntests = '*'\nmemory.peak = '1 GiB'\n[[budget]]\ntests = 'a'\nenergy.total = '5 s'",
            "llmperf.toml: [[budget]] 2 energy: total='5 s' has the unknown unit 's'",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line_that_names_file_table_and_key(file: Path, text: str, message: str) -> None:
    with pytest.raises(BudgetError) as caught:
        read(file, text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert str(file.parent) not in str(caught.value)


def test_a_file_that_is_not_utf_8_is_a_mistake_in_the_file(file: Path) -> None:
    file.write_bytes(b"[[budget]]\ntests = '\xff'\n")
    with pytest.raises(BudgetError, match=r"^llmperf.toml: not valid TOML: 'utf-8' codec"):
        read_budget_file(file)


# -------------------------------------------------------------------------------------------------------------- prices


def prices_of(file: Path, text: str) -> Prices | None:
    file.write_text(text, encoding="utf-8")
    return read_budget_file(file).prices


def test_prices_are_read_in_their_order_and_currency(file: Path) -> None:
    text = '[prices]\nper_kwh = "0.3 €"\nprompt_weight = 0.25\n[prices.per_hour]\n"NVIDIA *" = "2 €"\n"*" = "1 €"\n'
    assert prices_of(file, text) == Prices("€", (("NVIDIA *", 2.0), ("*", 1.0)), 0.3, 0.25)
    assert prices_of(file, WHOLE) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prices = 3", "llmperf.toml: [prices] is not a table; write [prices.per_hour]"),
        ("[prices]\nper_month = '1 EUR'", "llmperf.toml: [prices]: unknown key 'per_month'; it takes per_hour, *"),
        ("[prices]\nper_kwh = '1 EUR'", "llmperf.toml: [prices]: per_hour is not a table of devices; *"),
        ("[prices.per_hour]\n'*' = '1 EUR/h'", "llmperf.toml: [prices]: per_hour '*'='1 EUR/h' is not a price: *"),
        ("[prices.per_hour]\n'*' = 2", "llmperf.toml: [prices]: per_hour '*'=2 is not a price: *"),
        (
            "[prices]\nper_kwh = '1 USD'\n[prices.per_hour]\n'*' = '1 EUR'",
            "llmperf.toml: [prices]: per_kwh is in USD and per_hour '*' in EUR: write all prices in one currency",
        ),
        (
            "[prices]\nprompt_weight = 2\n[prices.per_hour]\n'*' = '1 EUR'",
            "llmperf.toml: [prices]: prompt_weight=2 is not a number from 0 to 1",
        ),
    ],
)
def test_mistakes_in_prices_are_told_in_one_line(file: Path, text: str, message: str) -> None:
    with pytest.raises(BudgetError) as found:
        prices_of(file, text)
    assert fnmatchcase(str(found.value), message.replace("[", "[[]"))
