"""``pytest-llmperf engines``: lists and stops the engines that ``--llmperf-keep-engine`` left running."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.engines.lifecycle.kept_list import KeptEngine

ALL = "all"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command and its actions."""
    engines = commands.add_parser("engines", help="list or stop the engines that --llmperf-keep-engine left running")
    engines.add_argument("--json", action="store_true", help="list them as JSON, with times in seconds")
    engines.set_defaults(run=run, action="list")
    actions = engines.add_subparsers(metavar="ACTION")
    stop = actions.add_parser("stop", help="stop one engine, or all")
    stop.add_argument("which", metavar="PID|all", nargs="?", default=ALL, type=_parse_which, help="by default all")
    stop.add_argument("--force", action="store_true", help="stop it even if a run is using it")
    stop.set_defaults(action="stop")


def run(asked: argparse.Namespace) -> int:
    """Lists or stops kept engines. Returns 0, or 1 if something could not be done."""
    from pytest_llmperf.engines.api.spec import EngineError
    from pytest_llmperf.engines.lifecycle.kept_list import list_kept_engines

    try:
        engines = list_kept_engines(lambda text: print(text, file=sys.stderr))
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    if asked.action == "stop":
        return _stop(engines, asked.which, asked.force)
    print(json.dumps([_make_plain(engine) for engine in engines], indent=2) if asked.json else _table(engines))
    return 0


def _parse_which(text: str) -> str:
    if text != ALL and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a pid nor {ALL}")
    return text


def _stop(engines: Sequence[KeptEngine], which: str, force: bool) -> int:
    chosen = [engine for engine in engines if which in (ALL, str(engine.pid))]
    if not chosen and which != ALL:
        print(f"no kept engine has pid {which}; pytest-llmperf engines lists them", file=sys.stderr)
        return 1
    if not chosen:
        print("no engine is kept")
    status = 0
    for engine in chosen:
        name = f"{engine.engine}: {engine.model} (pid {engine.pid})"
        reason = engine.stop(force)
        if reason:
            hint = "" if force else "; --force stops it anyway"
            print(f"{name} was not stopped: {reason}{hint}", file=sys.stderr)
            status = 1
        else:
            print(f"{name} stopped")
    return status


def _make_plain(engine: KeptEngine) -> dict[str, object]:
    names = ("engine", "model", "version", "base_url", "pid", "age_seconds", "left_seconds", "in_use")
    return {name: getattr(engine, name) for name in names}


def _table(engines: Sequence[KeptEngine]) -> str:
    from pytest_llmperf.reports.text import align_columns

    if not engines:
        return "no engine is kept; pytest --llmperf-keep-engine=SECONDS keeps one running"
    rows = [("model", "engine", "version", "pid", "age", "state", "address")]
    for engine in engines:
        state = "in use" if engine.left_seconds is None else f"idle, ends in {_duration(engine.left_seconds)}"
        about = (engine.model, engine.engine, engine.version, str(engine.pid))
        rows.append((*about, _duration(engine.age_seconds), state, engine.base_url))
    return "\n".join(align_columns(rows, "<<<>><<", shutil.get_terminal_size((200, 24)).columns))


def _duration(seconds: float) -> str:
    """``95 s`` up to two minutes, then ``12 min``, then ``3 h 05 min``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
