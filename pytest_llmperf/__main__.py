"""The command ``pytest-llmperf``, also ``python -m pytest_llmperf``: puts the commands of ``commands/`` together."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from pytest_llmperf.commands import audit, compare, engines, history, judge, suggest
from pytest_llmperf.commands.store import command as store
from pytest_llmperf.system.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = (engines, store, history, judge, compare, suggest, audit)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command. Returns 0, or 1 if something could not be done; exits with 2 for a mistake in the arguments."""
    asked = _make_parser().parse_args(argv)
    try:
        status: int = asked.run(asked)
        sys.stdout.flush()
    except BrokenPipeError:  # Who reads the output, such as head, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("pytest-llmperf", description="Work with pytest-llmperf between test runs.")
    parser.add_argument("--version", action="version", version=f"pytest-llmperf {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
