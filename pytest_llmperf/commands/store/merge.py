"""``pytest-llmperf store merge``: takes over the runs of other stores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.baselines.store import Store
from pytest_llmperf.commands.output import complain, print_lines
from pytest_llmperf.commands.stores import add_store_option, open_store, tell_faults

if TYPE_CHECKING:
    import argparse


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the action."""
    parser = actions.add_parser("merge", help="take over the runs of other stores that are not here yet")
    parser.add_argument("others", metavar="PATH", nargs="+", type=Path, help="the folder of another store")
    add_store_option(parser)
    parser.set_defaults(act=act)


def act(asked: argparse.Namespace) -> int:
    """Merges. Returns 0, or 1 if one of the stores is not there.

    Raises:
        StoreError: a store cannot be read, or this one cannot be written.
    """
    store, status = open_store(asked), 0
    for path in asked.others:
        if not path.is_dir():
            complain(f"{path}: there is no such folder")
            status = 1
            continue
        other = Store(path)
        added, present = store.merge(other)
        tell_faults(other)
        print_lines([f"{path}: {added} {'run' if added == 1 else 'runs'} added, {present} here already"])
    tell_faults(store)
    return status
