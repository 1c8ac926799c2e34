"""``pytest-llmperf suggest``: writes an ``llmperf.toml`` with limits that fit what the store has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.commands.output import complain
from pytest_llmperf.commands.stores import add_store_option, open_store, tell_faults

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from pytest_llmperf.baselines.stored_run import StoredRun

NAME = "calibration"
TO_STDOUT = "-"
RUNS = 20


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser("suggest", help="write an llmperf.toml with limits that fit what was measured")
    add_store_arguments(parser)
    parser.add_argument(
        "--output", metavar="PATH", default="llmperf.toml", help="the file; - prints it (default: %(default)s)"
    )
    parser.add_argument(
        "--relative", action="store_true", help="limit rates and latencies against the baseline: '+9 %%'"
    )
    parser.add_argument("--force", action="store_true", help="replace the file if there is one")
    parser.set_defaults(run=run)


def add_store_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say which runs are meant."""
    parser.add_argument("--name", default=NAME, help="under which the runs were saved; by default %(default)s")
    parser.add_argument("--last", metavar="N", type=int, default=RUNS, help="newest runs; by default %(default)s")
    add_store_option(parser)


def run(asked: argparse.Namespace) -> int:
    """Writes the file. Returns 0, or 1 if nothing could be suggested, or the file is there already."""
    from pytest_llmperf.baselines.calibration.history import collect_histories
    from pytest_llmperf.baselines.calibration.suggestions import choose_histories, render_budgets
    from pytest_llmperf.system.files.whole import write_whole

    path = Path(asked.output)
    if asked.output != TO_STDOUT and path.exists() and not asked.force:
        return _fail(
            f"{path} is there already: --force replaces it, --output=PATH writes another, --output=- prints it"
        )
    runs = find_runs(asked)
    if not runs:
        return 1
    chosen = choose_histories(collect_histories(map(to_report, runs)))
    text, limits = render_budgets(chosen, _describe_runs(runs, asked.name), relative=asked.relative)
    if not limits:
        return _fail(
            "nothing to suggest: no number was measured in three runs or more; pytest --llmperf-calibrate=10 does"
        )
    if asked.output == TO_STDOUT:
        print(text, end="")
        return 0
    try:
        write_whole(path, text)
    except OSError as error:
        return _fail(f"{path} could not be written: {error.strerror}")
    print(f"{path}: {limits} limits from {len(runs)} runs")
    return 0


def find_runs(asked: argparse.Namespace) -> list[StoredRun]:
    """The newest runs of the name, oldest first: those of the same commit as the newest, of each fingerprint.

    Prints one line where there are none.
    """
    from pytest_llmperf.baselines.errors import StoreError

    store = open_store(asked)
    try:
        newest = store.fingerprints(asked.name)
        runs = [run for key in newest for run in store.find_runs(asked.name, key, asked.last)]
    except StoreError as error:
        complain(str(error))
        return []
    tell_faults(store)
    if not runs:
        complain(f"{store.path} has no runs of the name {asked.name}: pytest --llmperf-calibrate=10 makes them")
    return sorted((one for one in runs if one.commit == newest[one.fingerprint].commit), key=lambda one: one.created)


def to_report(run: StoredRun) -> dict[str, object]:
    """A stored run in the shape of a report."""
    return {"session": run.session, "metrics": run.metrics, "tests": list(run.tests.values())}


def _describe_runs(runs: Sequence[StoredRun], name: str) -> list[str]:
    first, last = runs[0], runs[-1]
    commit = f", commit {last.commit[:12]}" if last.commit else ""
    times = f"{first.created:%Y-%m-%d %H:%M} to {last.created:%Y-%m-%d %H:%M} UTC"
    return [
        f"Written by pytest-llmperf suggest from {len(runs)} runs of the name {name}, {times}{commit}.",
        "Each limit is the tightest that fails a good build in at most 1 % of runs and passes it in at least 90 %.",
        "A limit holds for the engine and the device that it was measured on.",
    ]


def _fail(text: str) -> int:
    complain(text)
    return 1
