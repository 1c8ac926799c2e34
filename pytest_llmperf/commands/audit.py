"""``pytest-llmperf audit``: what the budgets of a suite do with good builds, from the runs in a store."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from pytest_llmperf.commands.output import print_lines
from pytest_llmperf.commands.suggest import add_store_arguments, find_runs, to_report

if TYPE_CHECKING:
    import argparse


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "audit", help="tell how often budgets would fail a good build, and what they would find"
    )
    add_store_arguments(parser)
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Prints the audit. Returns 0, or 1 if there are no runs."""
    from pytest_llmperf.baselines.calibration.audit import audit_budgets
    from pytest_llmperf.baselines.calibration.audit_text import render_audit

    runs = find_runs(asked)
    if runs:
        print_lines(render_audit(audit_budgets(map(to_report, runs)), shutil.get_terminal_size((120, 24)).columns))
    return 0 if runs else 1
