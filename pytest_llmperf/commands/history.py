"""``pytest-llmperf history``: a metric over the stored runs, one line for each test."""

from __future__ import annotations

import argparse
import json
import sys
from itertools import groupby
from typing import TYPE_CHECKING

from pytest_llmperf.baselines.errors import StoreError
from pytest_llmperf.baselines.history import RUNS, SMALLEST_CHANGE, read_history
from pytest_llmperf.baselines.store import DEFAULT_NAME
from pytest_llmperf.commands.output import complain, print_lines, print_table
from pytest_llmperf.commands.stores import add_store_option, open_store, tell_faults
from pytest_llmperf.measurement.units import UnitError, find_quantity, format_change, format_value, parse
from pytest_llmperf.reports.sparkline import ASCII_BLOCKS, BLOCKS, draw_sparkline
from pytest_llmperf.reports.text import NO_VALUE, knows_unicode

if TYPE_CHECKING:
    from pytest_llmperf.baselines.change_points import ChangePoint
    from pytest_llmperf.baselines.history import Series

_LINE = 24
_SHARE = find_quantity("1")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    history = commands.add_parser("history", help="show a metric over the stored runs, and where its level changed")
    history.add_argument("metric", metavar="METRIC", help="with its statistic, such as latency.ttft_p50 or ttft_p50")
    history.add_argument("--name", default=DEFAULT_NAME, help=f"of the stored runs; by default {DEFAULT_NAME}")
    history.add_argument("--test", metavar="GLOB", default="*", help="of node ids")
    history.add_argument("--engine", metavar="GLOB", default="*", help="of an engine's label, name, or name:model")
    history.add_argument("--last", metavar="N", type=_parse_count, default=RUNS, help=f"newest runs; by default {RUNS}")
    history.add_argument(
        "--at-least",
        metavar="PERCENT",
        type=_parse_share,
        default=SMALLEST_CHANGE,
        help=f"leaves out smaller changes; by default '{SMALLEST_CHANGE * 100:g} %%'",
    )
    history.add_argument("--json", action="store_true", help="print all values, in base units, as JSON")
    add_store_option(history)
    history.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Prints the history. Returns 0, or 1 if there is none."""
    store = open_store(asked)
    try:
        found = read_history(
            store,
            asked.name,
            asked.metric,
            test_glob=asked.test,
            engine_glob=asked.engine,
            last=asked.last,
            smallest_change=asked.at_least,
        )
    except StoreError as error:
        tell_faults(store)
        complain(str(error))
        return 1
    tell_faults(store)
    if asked.json:
        print(json.dumps([series.as_plain() for series in found], indent=1))
    elif not found:
        complain(f"no test on engine {asked.engine!r} that matches {asked.test!r} has a value of {asked.metric}")
    else:
        for _, group in groupby(found, key=lambda series: series.fingerprint):
            _print_group(list(group))
    return 0 if found else 1


def _print_group(group: list[Series]) -> None:
    print_lines([f"{group[0].reading} on {group[0].measured_on} ({group[0].fingerprint})"])
    rows = [("test", "history", "runs", "newest", "since anchor", "changes of level")]
    print_table([*rows, *(_make_row(series) for series in group)], "<<>>><")


def _make_row(series: Series) -> tuple[str, ...]:
    return (
        series.test,
        draw_sparkline(series.values, _LINE, BLOCKS if knows_unicode(sys.stdout.encoding) else ASCII_BLOCKS),
        str(len(series.points)),
        format_value(series.values[-1], find_quantity(series.unit)),
        NO_VALUE if series.since_anchor is None else format_change(series.since_anchor),
        "; ".join(_describe(series, change) for change in series.changes) or "none",
    )


def _describe(series: Series, change: ChangePoint) -> str:
    """``2026-07-12 c0ffeec0ffee +21.0 % (worse, vllm 0.31.2 to 0.32.0)``."""
    old, new = series.points[change.index - 1], series.points[change.index]
    notes = ["worse" if series.is_worse(change.ratio) else "better"]
    notes += [
        f"{what} {before} to {after}"
        for what, before, after in (("version", old.version, new.version), ("driver", old.driver, new.driver))
        if before != after and before and after
    ]
    size = format_change(change.ratio) if change.before else f"from 0 to {change.after:g}"
    return " ".join([f"{new.created:%Y-%m-%d}", *filter(None, [new.commit[:12]]), size, f"({', '.join(notes)})"])


def _parse_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _parse_share(text: str) -> float:
    try:
        return parse(text, _SHARE)
    except UnitError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
