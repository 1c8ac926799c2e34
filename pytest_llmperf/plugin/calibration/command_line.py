"""From the command line of pytest to a calibration."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.plugin.calibration.calibration import Calibration
from pytest_llmperf.plugin.preflight.unused_options import read_command_line
from pytest_llmperf.reports.text import to_ascii

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDEST = 120


def calibrate(config: pytest.Config, runs: int) -> int:
    """Runs the suite of this command line so often, and prints the audit. Returns the exit status.

    Raises:
        pytest.UsageError: an option of the command line does not go with a calibration.
    """
    for problem in _find_problems(config):
        raise pytest.UsageError(f"llmperf: {problem}")
    arguments, folder = config.invocation_params.args, config.invocation_params.dir
    width = min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns)
    try:
        return Calibration(runs, arguments, folder, _say, width).run()
    except KeyboardInterrupt:
        _say("llmperf: the calibration was interrupted; runs that had ended are in the store")
        return int(pytest.ExitCode.INTERRUPTED)


def _find_problems(config: pytest.Config) -> Iterator[str]:
    arguments = config.invocation_params.args
    if any(argument.partition("=")[0] == "--llmperf-save" for argument in arguments):
        yield "--llmperf-calibrate saves its runs under the name calibration: leave out --llmperf-save"
    if read_command_line(arguments, "--llmperf-against"):
        yield "--llmperf-calibrate is for budgets, and --llmperf-against judges none: leave out one of them"
    if read_command_line(arguments, "--llmperf-keep-engine"):
        yield "--llmperf-calibrate needs fresh engines: leave out --llmperf-keep-engine"
    if any(not isinstance(plugin, str) for plugin in config.invocation_params.plugins or ()):
        yield "--llmperf-calibrate starts pytest anew: plugin objects given to pytest.main cannot be passed on"


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except UnicodeEncodeError:
        print(to_ascii(text), flush=True)
