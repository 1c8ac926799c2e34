"""``pytest-llmperf store``: puts its actions together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.baselines.errors import StoreError
from pytest_llmperf.commands.output import complain
from pytest_llmperf.commands.store import anchor, export, listing, merge, prune, show

if TYPE_CHECKING:
    import argparse

ACTIONS = (listing, show, anchor, prune, merge, export)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command and its actions."""
    parser = commands.add_parser("store", help="list, show, prune, merge or export stored runs")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for action in ACTIONS:
        action.add_parser(actions)
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Runs the action that was asked for. Returns 0, or 1 if something could not be done."""
    try:
        status: int = asked.act(asked)
    except StoreError as error:
        complain(str(error))
        return 1
    return status
