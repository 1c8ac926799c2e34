"""``pytest-llmperf store anchor``: the run that later ones are compared with however long ago it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.baselines.selection import find_run_file
from pytest_llmperf.commands.output import complain, print_lines
from pytest_llmperf.commands.stores import add_store_option, open_store, tell_faults

if TYPE_CHECKING:
    import argparse


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the action."""
    parser = actions.add_parser("anchor", help="mark a run as the fixed one that slow drift is measured from")
    parser.add_argument("run_name", metavar="RUN", help="a run, or the beginning of its name")
    add_store_option(parser)
    parser.set_defaults(act=act)


def act(asked: argparse.Namespace) -> int:
    """Marks the run. Returns 0, or 1 if its file cannot be read.

    Raises:
        StoreError: there is no such run, or the store cannot be written.
    """
    store = open_store(asked)
    found = find_run_file(store, asked.run_name)
    is_whole = any(store.read(found.name, found.fingerprint, [found.path]))
    tell_faults(store)
    if not is_whole:
        complain(f"{found.path.stem} cannot be an anchor")
        return 1
    store.set_anchor(found.path)
    print_lines([f"{found.path.stem} is the anchor of {found.name} for {found.fingerprint}"])
    return 0
