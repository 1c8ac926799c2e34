"""``pytest-llmperf store list``: names and fingerprints, or the runs of one name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_llmperf.baselines import names
from pytest_llmperf.baselines.selection import check_is_stored
from pytest_llmperf.baselines.words import describe_engines
from pytest_llmperf.commands.output import complain, print_table
from pytest_llmperf.commands.stores import add_store_option, open_store, tell_faults

if TYPE_CHECKING:
    import argparse

    from pytest_llmperf.baselines.store import Store
    from pytest_llmperf.baselines.stored_run import StoredRun

RUNS = 20


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the action."""
    parser = actions.add_parser("list", help="list names and fingerprints, or the newest runs of one name")
    parser.add_argument("name", metavar="NAME", nargs="?", help="lists the runs of this name")
    parser.add_argument("--last", metavar="N", type=int, default=RUNS, help=f"runs of a fingerprint; by default {RUNS}")
    parser.add_argument("--json", action="store_true", help="list as JSON")
    add_store_option(parser)
    parser.set_defaults(act=act)


def act(asked: argparse.Namespace) -> int:
    """Lists. Returns 0, also for an empty store, or 1 if there is no such name.

    Raises:
        StoreError: the store cannot be read, or has no runs of the name.
    """
    store = open_store(asked)
    if asked.name:
        check_is_stored(store, asked.name)
        rows = _list_runs(store, asked.name, asked.last)
    else:
        rows = _list_groups(store)
    tell_faults(store)
    if asked.json:
        print(json.dumps(rows, indent=1))
    elif rows:
        print_table([tuple(rows[0]), *(tuple(str(cell) for cell in row.values()) for row in rows)], _align(rows[0]))
    else:
        complain(f"{store.path}: no run is stored; pytest --llmperf-save stores one")
    return 0


def _align(row: dict[str, Any]) -> str:
    return "".join(">" if isinstance(cell, int) else "<" for cell in row.values())


def _list_groups(store: Store) -> list[dict[str, Any]]:
    rows = []
    for name, fingerprint in store.folders():
        runs = store.find_runs(name, fingerprint, last=1)
        if not runs:
            continue
        files, words = store.list_files(name, fingerprint), describe_engines(runs[0])
        rows.append(
            {
                "name": name,
                "engine": words.engine,
                "model": words.model,
                "devices": words.devices,
                "settings": words.settings,
                "runs": len(files),
                "newest": _format_time(runs[0]),
                "oldest": f"{names.parse_time(files[0].name):%Y-%m-%d %H:%M}",
                "fingerprint": fingerprint,
            }
        )
    return rows


def _list_runs(store: Store, name: str, last: int) -> list[dict[str, Any]]:
    rows = []
    for fingerprint in store.fingerprints(name):
        mark = store.read_anchor_mark(name, fingerprint)
        for run in store.find_runs(name, fingerprint, last):
            words = describe_engines(run)
            git = run.session.get("git") or {}
            rows.append(
                {
                    "run": run.identity,
                    "created": _format_time(run),
                    "commit": f"{run.commit[:12]}{'+' if git.get('dirty') else ''}",
                    "branch": str(git.get("branch") or ""),
                    "engine": words.engine,
                    "devices": words.devices,
                    "host": str(run.session.get("host") or ""),
                    "tests": len(run.tests),
                    "anchor": "anchor" if run.path.name == mark else "",
                }
            )
    return rows


def _format_time(run: StoredRun) -> str:
    return f"{run.created:%Y-%m-%d %H:%M}"
