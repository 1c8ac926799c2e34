"""``pytest-llmperf store export``: stored runs for other tools."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.baselines.errors import StoreError
from pytest_llmperf.baselines.export import (
    list_values,
    to_bencher,
    to_csv,
    to_github_action_benchmark,
    to_openmetrics,
)
from pytest_llmperf.baselines.selection import check_is_stored
from pytest_llmperf.baselines.store import DEFAULT_NAME
from pytest_llmperf.commands.output import print_lines
from pytest_llmperf.commands.stores import add_store_option, open_store, tell_faults
from pytest_llmperf.system.files.whole import write_whole

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pytest_llmperf.baselines.export import ExportedValue
    from pytest_llmperf.baselines.store import Store

GITHUB = "github-action-benchmark"
FORMATS = (GITHUB, "bencher", "csv", "openmetrics")
GITHUB_FILES = ("smaller-is-better.json", "bigger-is-better.json")


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the action."""
    parser = actions.add_parser("export", help="write stored runs for other tools")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--name", default=DEFAULT_NAME, help=f"of the runs; by default {DEFAULT_NAME}")
    parser.add_argument("--test", metavar="GLOB", default="*", help="of node ids")
    parser.add_argument("--metric", metavar="GLOB", action="append", help="such as 'latency.*'; may be repeated")
    parser.add_argument(
        "--output",
        metavar="PATH",
        type=Path,
        help=f"a file, by default stdout; for {GITHUB} a folder, by default this one, for its two files",
    )
    add_store_option(parser)
    parser.set_defaults(act=act)


def act(asked: argparse.Namespace) -> int:
    """Exports all runs of a name as CSV, or the newest of each fingerprint in another format. Returns 0.

    Raises:
        StoreError: there are no runs of the name, none has a value that was asked for, or a file cannot be written.
    """
    store = open_store(asked)
    check_is_stored(store, asked.name)
    if asked.format == "csv":
        texts = {"": "".join(to_csv(_read_all(store, asked)))}
    else:
        values = list_values(store.fingerprints(asked.name).values(), asked.test, asked.metric or ["*"])
        if not values:
            raise StoreError(f"the newest runs of {asked.name} have no value that was asked for")
        texts = _render(asked.format, values)
    tell_faults(store)
    _write(asked.output, texts)
    return 0


def _read_all(store: Store, asked: argparse.Namespace) -> Iterator[ExportedValue]:
    """The values of all runs, of one run after the other."""
    for name, fingerprint in store.folders():
        if name == asked.name:
            for run in store.read(name, fingerprint, store.list_files(name, fingerprint)):
                yield from list_values([run], asked.test, asked.metric or ["*"])


def _render(format_name: str, values: list[ExportedValue]) -> dict[str, str]:
    """The texts of the files by their names; one without a name goes where ``--output`` says."""
    if format_name == GITHUB:
        return dict(zip(GITHUB_FILES, to_github_action_benchmark(values), strict=True))
    return {"": to_bencher(values) if format_name == "bencher" else to_openmetrics(values)}


def _write(output: Path | None, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        if not name and output is None:
            sys.stdout.write(text)
            continue
        path = (output or Path()) / name if name else output or Path()
        try:
            write_whole(path, text)
        except OSError as error:
            raise StoreError(f"{path}: could not be written: {error.strerror or error}") from error
        print_lines([f"{path} written"])
