"""``pytest-llmperf store prune``: removes old runs; anchors stay."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pytest_llmperf.baselines import names
from pytest_llmperf.baselines.selection import check_is_stored
from pytest_llmperf.commands.output import complain, print_lines
from pytest_llmperf.commands.stores import add_store_option, open_store, tell_faults

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_llmperf.baselines.store import Store

_AGE = re.compile(r"(\d{1,5})\s*([dwhm])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the action."""
    parser = actions.add_parser("prune", help="remove old runs; with both limits, those that are beyond both")
    parser.add_argument("--keep", metavar="N", type=_parse_count, help="keeps the newest N of each fingerprint")
    parser.add_argument(
        "--older-than", metavar="AGE", type=_parse_age, help="removes only runs older than 90d, 12w, 6h"
    )
    parser.add_argument("--name", action="append", help="removes only runs of this name; may be repeated")
    parser.add_argument("--dry-run", action="store_true", help="only says what would be removed")
    add_store_option(parser)
    parser.set_defaults(act=act)


def act(asked: argparse.Namespace) -> int:
    """Removes runs. Returns 0, or 1 without any limit.

    Raises:
        StoreError: there are no runs of a name, or the store cannot be read or written.
    """
    if asked.keep is None and asked.older_than is None:
        complain("nothing says what to remove: give --keep=N, --older-than=AGE, or both")
        return 1
    store = open_store(asked)
    for name in asked.name or ():
        check_is_stored(store, name)
    chosen = [
        path
        for name, fingerprint in list(store.folders())
        if not asked.name or name in asked.name
        for path in _choose(store, name, fingerprint, asked.keep, asked.older_than)
    ]
    if not asked.dry_run:
        store.remove(chosen)
    tell_faults(store)
    print_lines(path.relative_to(store.path).as_posix() for path in chosen)
    print_lines([f"{len(chosen)} {'run' if len(chosen) == 1 else 'runs'} {'would be ' * asked.dry_run}removed"])
    return 0


def _choose(store: Store, name: str, fingerprint: str, keep: int | None, age: timedelta | None) -> list[Path]:
    """The files of the runs that are beyond all limits that are given, oldest first, without the anchor."""
    files = store.list_files(name, fingerprint)
    beyond = files[: max(0, len(files) - (keep or 0))]
    if age is not None:
        oldest = datetime.now(UTC) - age
        beyond = [path for path in beyond if names.parse_time(path.name) < oldest]
    anchor = store.find_anchor(name, fingerprint) if beyond else None
    return [path for path in beyond if anchor is None or path != anchor.path]


def _parse_count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _parse_age(text: str) -> timedelta:
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an age: write 90d, 12w, 6h or 30m")
    return int(match[1]) * _UNITS[match[2]]
