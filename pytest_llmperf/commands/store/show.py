"""``pytest-llmperf store show``: what one run measured, test by test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.baselines.errors import StoreError
from pytest_llmperf.baselines.selection import find_metric, find_readings, find_run_file
from pytest_llmperf.baselines.words import describe_engines
from pytest_llmperf.commands.output import complain, print_lines, print_table
from pytest_llmperf.commands.stores import add_store_option, open_store, tell_faults
from pytest_llmperf.measurement.units import find_quantity, format_value
from pytest_llmperf.reports.text import NO_VALUE

if TYPE_CHECKING:
    import argparse

    from pytest_llmperf.baselines.store import Store
    from pytest_llmperf.baselines.stored_run import StoredRun


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the action."""
    parser = actions.add_parser("show", help="show what a run measured")
    parser.add_argument("run_or_name", metavar="RUN|NAME", help="a run, or a name for the newest of each fingerprint")
    parser.add_argument("--test", metavar="GLOB", default="*", help="of node ids")
    parser.add_argument("--metric", metavar="GLOB", action="append", help="such as 'latency.*'; may be repeated")
    add_store_option(parser)
    parser.set_defaults(act=act)


def act(asked: argparse.Namespace) -> int:
    """Shows the runs. Returns 0, or 1 if nothing was found.

    Raises:
        StoreError: there is no such run or name, or the store cannot be read.
    """
    store = open_store(asked)
    runs = _find_runs(store, asked.run_or_name)
    tell_faults(store)
    shown = [_show(run, asked.test, asked.metric or ["*"]) for run in runs]
    if not any(shown):
        complain(f"no test that matches {asked.test!r} has a value of {', '.join(asked.metric or ['any metric'])}")
    return 0 if any(shown) else 1


def _find_runs(store: Store, text: str) -> list[StoredRun]:
    if text in store.names():
        return list(store.fingerprints(text).values())
    found = find_run_file(store, text)
    runs = list(store.read(found.name, found.fingerprint, [found.path]))
    if not runs:
        raise StoreError(store.faults[found.path])
    return runs


def _show(run: StoredRun, test_glob: str, metric_globs: list[str]) -> bool:
    """Prints the values of a run; whether there were any."""
    rows = []
    for nodeid, readings in find_readings(run, test_glob, metric_globs).items():
        for place, name in enumerate(readings):
            reading = run.tests[nodeid]["measurement"]["readings"][name]
            unit = str((run.metrics.get(find_metric(name, run.metrics)[0]) or {}).get("unit") or "1")
            value = format_value(reading["value"], find_quantity(unit))
            samples = reading.get("samples")
            rows.append(("" if place else nodeid, name, value, NO_VALUE if samples is None else str(samples)))
    if rows:
        print_lines(_describe(run))
        print_table([("test", "metric", "value", "samples"), *rows], "<<>>")
    return bool(rows)


def _describe(run: StoredRun) -> list[str]:
    git = run.session.get("git") or {}
    about = [f"{run.created:%Y-%m-%d %H:%M} UTC"]
    if run.commit:
        about.append(f"commit {run.commit[:12]}{' with changes' if git.get('dirty') else ''}")
    about += [f"{key} {run.session[key]}" for key in ("host", "driver", "cuda", "kernel") if run.session.get(key)]
    return [f"{run.name}: {run.identity}", f"  {describe_engines(run).line}", f"  {', '.join(about)}"]
