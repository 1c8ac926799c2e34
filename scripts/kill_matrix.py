"""Runs the cases of the kill matrix, keeps how each ended, and writes the page about them: ``scripts/matrix``.

The endings are kept in ``tests/matrix/endings.csv``, from which ``--write`` makes ``docs/kill-matrix.md``.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import re
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import astuple, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.docs_tables import table
from tests.matrix.cases import ENGINES, MODES, MOMENTS, SIGNALS, VICTIMS, Case, list_cases
from tests.matrix.trial import ABSENT, MomentMissed, Outcome, run_trial

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROJECT = Path(__file__).parents[1]
ENDINGS = _PROJECT / "tests" / "matrix" / "endings.csv"
PAGE = _PROJECT / "docs" / "kill-matrix.md"
BEGIN = "<!-- made by scripts/matrix --write -->\n"
_KEPT = _PROJECT / ".cache" / "matrix"
# What differs between two runs of one case: pids, and the names of temporary folders.
_NUMBERS = re.compile(r"(?<=-)[a-z0-9_]{8}(?![a-z0-9_])|\d+(?=\.json)")
_COLUMNS = [*(one.name for one in fields(Case)), "ending"]
_MODES = {"plain": "one process", "n2": "`-n2`", "keep": "`--llmperf-keep-engine`", "ab": "`--llmperf-against`"}
_MOMENTS = {"before": "before the first request", "stream": "mid-stream", "closed": "closed load", "open": "open load"}


def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    cases = [case for case in list_cases(options.engine, options.mode) if fnmatchcase(str(case), options.cases)]
    bad = 0
    # Threads are enough: each waits for a run.
    with ThreadPoolExecutor(options.n) as pool:
        running = {pool.submit(_run, case, options.model): case for case in ([] if options.write else cases)}
        for number, done in enumerate(as_completed(running), 1):
            case, outcome = running[done], done.result(timeout=0)
            ending = _NUMBERS.sub("*", f"FAULT: {'; '.join(outcome.faults)}") if outcome.faults else outcome.ending
            print(f"{number}/{len(running)} {case}: {ending}", flush=True)
            _keep(case, ending)
            if outcome.faults:
                bad += 1
                (_KEPT / f"{str(case).replace(' ', '-')}.log").write_text(outcome.output, encoding="utf-8")
    if options.write:
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(text[: text.index(BEGIN)] + make_tables(read_endings()), encoding="utf-8")
    return 1 if bad else 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/matrix", description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, default="simulated")
    parser.add_argument("--mode", choices=MODES, default="plain")
    parser.add_argument("--cases", default="*", help="a glob: 'KILL engine *', '* relay stream *'")
    parser.add_argument("-n", type=int, default=1, help="how many run at the same time")
    parser.add_argument("--model", default="", help="the model that vLLM loads")
    parser.add_argument("--write", action="store_true", help="write the page from what is kept, and run nothing")
    return parser.parse_args(arguments)


def _run(case: Case, model: str) -> Outcome:
    try:
        return run_trial(case, model)
    except MomentMissed as missed:
        return Outcome("", ["its moment did not come"], str(missed))


def read_endings() -> dict[Case, str]:
    """How each case that was ever run has ended the last time."""
    with ENDINGS.open(encoding="utf-8", newline="") as file:
        return {
            Case(**{one.name: row[one.name] for one in fields(Case)}): row["ending"] for row in csv.DictReader(file)
        }


def _keep(case: Case, ending: str) -> None:
    """Keeps the ending of a case beside the others, in the order of the matrix; several runs may do so at once."""
    _KEPT.mkdir(parents=True, exist_ok=True)
    with (_KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        endings = read_endings() | {case: ending}
        with ENDINGS.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_COLUMNS)
            writer.writerows((*astuple(one), endings[one]) for one in sorted(endings, key=_place))


def _place(case: Case) -> tuple[int, ...]:
    orders = ((ENGINES, case.engine), (MODES, case.mode), (VICTIMS, case.victim), (SIGNALS, case.signal))
    return (*(order.index(name) for order, name in orders), MOMENTS.index(case.moment))


def make_tables(endings: Mapping[Case, str]) -> str:
    """A table for each engine and mode that was run: a row for each process and signal, a column for each moment."""
    parts = [BEGIN]
    for engine in ENGINES:
        for mode in MODES:
            cases = list(list_cases(engine, mode))
            run = [case for case in cases if case in endings]
            if run:
                bad = sum(endings[case].startswith("FAULT") for case in run)
                counts = f"{len(run)} of {len(cases)} cases were run; {bad} ended as they must not."
                parts.append(f"\n## {engine}, {_MODES[mode]}\n\n{counts}\n\n{_make_table(cases, endings)}")
    return "".join(parts)


def _make_table(cases: list[Case], endings: Mapping[Case, str]) -> str:
    moments = [moment for moment in MOMENTS if any(case.moment == moment for case in cases)]
    found = {(case.victim, case.signal, case.moment): endings.get(case, "not run") for case in cases}
    rows = []
    for victim in VICTIMS:
        for signal in SIGNALS:
            cells = [found.get((victim, signal, moment), "") for moment in moments]
            if any(cell not in ("", "not run", ABSENT) for cell in cells):
                rows.append([victim, signal, *cells])
    return table(("process", "signal", *(_MOMENTS.get(moment, moment) for moment in moments)), rows)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
