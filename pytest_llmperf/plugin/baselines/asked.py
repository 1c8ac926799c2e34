"""The options about baselines, read and checked. Every pytest run imports this file, so it reaches nothing heavy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

FOLDER = ".llmperf"
NAME = "main"
# What CI systems set for the run of a pull request: "" for any value but "false".
_PULL_REQUESTS = {
    "GITHUB_EVENT_NAME": ("pull_request", "pull_request_target"),
    "CI_MERGE_REQUEST_IID": (),
    "BITBUCKET_PR_ID": (),
    "BUILDKITE_PULL_REQUEST": (),
    "CIRCLE_PULL_REQUEST": (),
    "TRAVIS_PULL_REQUEST": (),
    "SYSTEM_PULLREQUEST_PULLREQUESTID": (),
    "CHANGE_ID": (),
}


class BaselineOptions(NamedTuple):
    """What a run does with baselines.

    Attributes:
        save: the name that it is stored under; empty if it is not.
        save_anyway: whether it is stored even if it failed.
        compare: the name of the runs that relative limits are compared with.
        shows_all: whether it shows how metrics changed that have no relative limit.
        store: the folder of the store, which need not exist.
        reference: the file that the next tokens of the run's engine are written to; None if they are not.
    """

    save: str
    save_anyway: bool
    compare: str
    shows_all: bool
    store: Path
    reference: Path | None = None

    @property
    def makes_first(self) -> bool:
        """Whether the run may be the first of the runs that it is compared with, so that it needs none before it."""
        return (bool(self.save) and self.save == self.compare) or self.reference is not None


def read_baseline_options(values: Mapping[str, Any], config: pytest.Config) -> BaselineOptions:
    """The options, with names that a store can have.

    Raises:
        ValueError: one line that names the option and what would be right.
    """
    _refuse_empty(config)
    save = _check_name("--llmperf-save", values["llmperf_save"] or "")
    _refuse_swallowed(save, config)
    compare = _check_name("--llmperf-compare", values["llmperf_compare"] or NAME)
    if values["llmperf_save_anyway"] and not save:
        raise ValueError("--llmperf-save-anyway has no effect without --llmperf-save")
    given = values["llmperf_compare"] is not None
    store = find_store(values, config)
    return BaselineOptions(save, values["llmperf_save_anyway"], compare, given, store, _find_reference(values, config))


def _find_reference(values: Mapping[str, Any], config: pytest.Config) -> Path | None:
    from pathlib import Path

    given = values["llmperf_save_reference"]
    return config.invocation_params.dir / Path(given).expanduser() if given else None


def find_store(values: Mapping[str, Any], config: pytest.Config) -> Path:
    """Where the store is: as the command line says from where pytest was called, else beside the configuration."""
    from pathlib import Path

    if config.getoption("llmperf_store") is not None:
        return config.invocation_params.dir / Path(values["llmperf_store"]).expanduser()
    root = config.inipath.parent if config.inipath else config.rootpath
    return root / Path(values["llmperf_store"] or FOLDER).expanduser()


def _refuse_empty(config: pytest.Config) -> None:
    """Refuses a value that is empty, as one is whose variable is not set, where the command line gives it."""
    for flag in ("--llmperf-save", "--llmperf-compare", "--llmperf-store", "--llmperf-save-reference"):
        if config.getoption(flag.removeprefix("--").replace("-", "_")) == "":
            raise ValueError(f"{flag}= has no value: give it one, or leave the option out")


def _check_name(flag: str, name: str) -> str:
    if not name or name == NAME:
        return name
    from pytest_llmperf.baselines.errors import StoreError
    from pytest_llmperf.baselines.names import check_name

    try:
        return check_name(name)
    except StoreError as error:
        raise ValueError(f"{flag}={name}: {error}") from None


def _refuse_swallowed(name: str, config: pytest.Config) -> None:
    """Refuses a name that was written behind ``--llmperf-save`` and a blank: it may be meant as the tests to run."""
    if name == NAME or f"--llmperf-save={name}" in config.invocation_params.args:
        return
    if "--llmperf-save" in config.invocation_params.args:
        raise ValueError(
            f"--llmperf-save {name}: write --llmperf-save={name} if that is the name to save under; if it is what to "
            "run, write it before the option"
        )


def runs_for_pull_request(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether CI says that this is the run of a pull request."""
    return any(
        environ[name] in events if events else environ[name] not in ("", "false")
        for name, events in _PULL_REQUESTS.items()
        if name in environ
    )
