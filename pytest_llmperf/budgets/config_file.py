"""Budgets in ``llmperf.toml``: limits for tests that need not be edited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.budgets.limit import BudgetError, Limit, matches, parse_limits
from pytest_llmperf.measurement.pages.definition import PageMetric, parse_definition
from pytest_llmperf.measurement.pricing.prices import Prices
from pytest_llmperf.measurement.units import UnitError, parse_money
from pytest_llmperf.metrics.table import GROUPS, SCOPES, set_page_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

NAME = "llmperf.toml"
_SCOPE = ("tests", *SCOPES)
_PRICES = ("per_hour", "per_kwh", "prompt_weight")


@dataclass(frozen=True)
class FileBudget:
    """One ``[[budget]]`` table: its limits apply to every test whose node id matches the glob ``tests``.

    ``source`` says which table it is, for messages.
    """

    tests: str
    limits: tuple[Limit, ...]
    source: str


@dataclass(frozen=True)
class BudgetFile:
    """What a file states: budgets in order, prices (None if it states none), and metrics that are read from pages."""

    budgets: tuple[FileBudget, ...] = ()
    prices: Prices | None = None
    page_metrics: tuple[PageMetric, ...] = ()


def read_budget_file(path: Path) -> BudgetFile:
    """The budgets, the prices and the metrics of a file. Its metrics are those of the table of all from then on.

    Raises:
        BudgetError: the file cannot be understood; the message is one line that names file, table and key.
        OSError: the file cannot be read.
    """
    import tomllib

    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # beside those of TOML: no UTF-8, thousands of digits or of brackets
        raise BudgetError(f"{path.name}: not valid TOML: {error}") from None
    tables, prices = data.pop("budget", []), data.pop("prices", None)
    page_metrics = tuple(_parse_page_metrics(data.pop("metrics", {}), f"{path.name}: [metrics"))
    if data:
        raise BudgetError(
            f"{path.name}: unknown key {next(iter(data))!r}; it holds [[budget]] tables, [prices] and [metrics]"
        )
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise BudgetError(f"{path.name}: budget is not a list of tables; write [[budget]]")
    budgets = [_parse(table, f"{path.name}: [[budget]] {number}") for number, table in enumerate(tables, 1)]
    _refuse_twice(budgets)
    stated = None if prices is None else _parse_prices(prices, f"{path.name}: [prices]")
    return BudgetFile(tuple(budgets), stated, page_metrics)


def _parse_page_metrics(groups: object, source: str) -> Iterator[PageMetric]:
    """The tables ``[metrics.GROUP.KEY]``, which it adds to the table of metrics.

    Raises:
        BudgetError: one of them cannot be understood, or its name is taken.
    """
    if not isinstance(groups, dict) or not all(isinstance(tables, dict) for tables in groups.values()):
        raise BudgetError(f"{source}] is not a table of metrics; write [metrics.GROUP.KEY]")
    found = []
    for group, key, table in ((group, key, table) for group, tables in groups.items() for key, table in tables.items()):
        try:
            if group not in GROUPS:
                raise ValueError(f"unknown group {group!r}; a metric is limited in one of {', '.join(GROUPS)}")
            found.append(parse_definition(f"{group}.{key}", table))
        except ValueError as error:
            raise BudgetError(f"{source}.{group}.{key}]: {error}") from None
    try:
        set_page_metrics(found)
    except ValueError as error:
        raise BudgetError(f"{source}]: {error}") from None
    yield from found


def _parse_prices(table: object, source: str) -> Prices:
    """``per_hour``, a table of globs over device names, ``per_kwh`` and ``prompt_weight``; all in one currency."""
    if not isinstance(table, dict):
        raise BudgetError(f"{source} is not a table; write [prices.per_hour]")
    for key in table:
        if key not in _PRICES:
            raise BudgetError(f"{source}: unknown key {key!r}; it takes {', '.join(_PRICES)}")
    devices = table.get("per_hour", {})
    if not isinstance(devices, dict) or not devices:
        raise BudgetError(
            f'{source}: per_hour is not a table of devices; write [prices.per_hour] and "NVIDIA L4*" = "0.70 EUR"'
        )
    written = {f"per_hour {glob!r}": value for glob, value in devices.items()}
    if "per_kwh" in table:
        written["per_kwh"] = table["per_kwh"]
    amounts = {key: _parse_amount(value, f"{source}: {key}") for key, value in written.items()}
    first, currency = next((key, currency) for key, (_, currency) in amounts.items())
    for key, (_, other) in amounts.items():
        if other != currency:
            raise BudgetError(
                f"{source}: {key} is in {other} and {first} in {currency}: write all prices in one currency"
            )
    weight = table.get("prompt_weight", 0.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1:
        raise BudgetError(f"{source}: prompt_weight={weight!r} is not a number from 0 to 1")
    hourly = tuple((glob, amounts[f"per_hour {glob!r}"][0]) for glob in devices)
    return Prices(currency, hourly, amounts["per_kwh"][0] if "per_kwh" in table else None, float(weight))


def _parse_amount(value: object, place: str) -> tuple[float, str]:
    try:
        return parse_money(value)
    except UnitError as error:
        raise BudgetError(f"{place}={error}") from None


def _refuse_twice(budgets: Sequence[FileBudget]) -> None:
    seen: dict[tuple[str, tuple[str, str | None, str | None, bool]], Limit] = {}
    for budget in budgets:
        for limit in budget.limits:
            slot = (budget.tests, limit.slot)
            if slot in seen:
                twice = f"{limit.name} is limited twice for {budget.tests!r}"
                raise BudgetError(f"{limit.source}: {twice}; {seen[slot].source} limits it already")
            seen[slot] = limit


def _parse(table: Mapping[str, Any], source: str) -> FileBudget:
    for key in table:
        if key not in (*_SCOPE, *GROUPS):
            raise BudgetError(f"{source}: unknown key {key!r}; it takes {', '.join((*_SCOPE, *GROUPS))}")
    tests = table.get("tests")
    if not isinstance(tests, str) or not tests:
        raise BudgetError(f"{source}: tests must be a glob over node ids, such as tests = 'tests/test_chat.py::*'")
    scope = {key: table[key] for key in SCOPES if key in table}
    limits: list[Limit] = []
    for group in GROUPS:
        if group not in table:
            continue
        if not isinstance(table[group], dict):
            raise BudgetError(f"{source}: {group} is not a table; write {group}.KEY = '...'")
        limits += parse_limits(group, {**table[group], **scope}, f"{source} {group}")
    if not limits:
        raise BudgetError(f"{source}: limits nothing; give one of {', '.join(GROUPS)}")
    return FileBudget(tests, tuple(limits), source)


def find_limits(nodeid: str, budgets: Sequence[FileBudget]) -> list[Limit]:
    """The limits that apply to a test, the last table first; of several for one metric and place, the last one."""
    found: dict[tuple[str, str | None, str | None, bool], Limit] = {}
    for budget in reversed(budgets):
        if matches(nodeid, budget.tests):
            for limit in budget.limits:
                found.setdefault(limit.slot, limit)
    return list(found.values())
