"""Whole pytest sessions against a simulated engine of known noise, for ``verdicts.py --sessions``.

Each session starts a server with a seed of its own. Its tests have limits of their own, so that one session tries all
true values. Times are those of the simulated engine, 200 ms a request, in which this machine's own noise is small; what
it adds in the mean is measured first and taken off the truth.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TRUTHS = (0.90, 0.95, 1.00, 1.10, 1.14, 1.20)
ROUNDS = 8
TOKENS = 11
SEVERAL_AT_ONCE = 8
_JUDGED = ("PASS", "FAIL", "INCONCLUSIVE")
_QUIET = {"ttft": "100 ms", "tpot": "10 ms"}
_TESTS = """
import pytest

@pytest.mark.parametrize("truth", [
    pytest.param(truth, marks=pytest.mark.throughput_budget(output=f"{{rate * truth}} tok/s"))
    for rate in ({rate},) for truth in {truths}
])
def test_rate(truth, llm_client):
    llm_client.generate("x", max_tokens={tokens})
"""


@dataclass(frozen=True)
class SessionCase:
    """The noise of the engine, and what the session is told of the noise between sessions.

    Attributes:
        name: as the table shows it.
        noise: settings of the simulated engine.
        stated: ``--llmperf-session-noise``; empty if it is unknown.
    """

    name: str
    noise: tuple[tuple[str, str], ...]
    stated: str = ""


CASES = (
    SessionCase("3 % between rounds", (("request_sd", "3 %"),), "0%"),
    SessionCase("2 % between sessions, known", (("request_sd", "3 %"), ("session_sd", "2 %")), "2%"),
    SessionCase("2 % between sessions, unknown", (("request_sd", "3 %"), ("session_sd", "2 %"))),
    SessionCase("5 % between sessions, known", (("request_sd", "3 %"), ("session_sd", "5 %")), "5%"),
    SessionCase("5 % between sessions, unknown", (("request_sd", "3 %"), ("session_sd", "5 %"))),
    SessionCase("a slow swing of 3 %, 2 % known", (("drift_sd", "3 %"), ("session_sd", "2 %")), "2%"),
    SessionCase("3 % outliers, 2 % known", (("request_sd", "3 %"), ("outliers", "3 %"), ("session_sd", "2 %")), "2%"),
)


class _Verdicts:
    """A pytest plugin that keeps the verdicts of each test, in the wire form of reports."""

    def __init__(self) -> None:
        self.by_test: dict[str, list[dict[str, Any]]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if found := getattr(report, "llmperf", None):
            self.by_test[report.nodeid] = found["verdicts"]


def run_session(case: SessionCase, seed: int, rate: float) -> dict[float, dict[str, Any]]:
    """The verdict of one session at each true value; ``rate`` is that of a build exactly at a limit, in tok/s."""
    seen = _Verdicts()
    settings = {**_QUIET, **dict(case.noise), "seed": str(seed)}
    options = [f"--llmperf-engine-arg={key}={value}" for key, value in settings.items()]
    options += [f"--llmperf-session-noise={case.stated}"] if case.stated else []
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as output:
        path = Path(folder) / "test_sessions.py"
        path.write_text(_TESTS.format(rate=rate, truths=TRUTHS, tokens=TOKENS), encoding="utf-8")
        sys.modules.pop(path.stem, None)
        words = [
            str(path),
            f"--rootdir={folder}",
            "-c",
            os.devnull,
            "-p",
            "pytest_llmperf.plugin",
            "-p",
            "no:cacheprovider",
        ]
        pytest.main([*words, "--llm-engine=simulated", f"--llmperf-rounds={ROUNDS}", *options], plugins=[seen])
    if len(seen.by_test) != len(TRUTHS):
        raise RuntimeError(f"a session judged {len(seen.by_test)} of {len(TRUTHS)} tests:\n{output.getvalue()}")
    return {float(name.partition("[")[2].rstrip("]")): found[0] for name, found in seen.by_test.items()}


def measure_rate(sessions: int = 3 * SEVERAL_AT_ONCE) -> float:
    """The rate without noise, in tok/s: the truth, with what client, server and this machine add to it."""
    found = _run_sessions(SessionCase("quiet", ()), sessions, 1.0)
    return median(float(verdict["measured"]) for session in found for verdict in session.values())


def run_case(case: SessionCase, sessions: int, rate: float) -> dict[float, Counter[str]]:
    """How often each verdict came at each true value, over so many sessions."""
    counts: dict[float, Counter[str]] = {truth: Counter() for truth in TRUTHS}
    for found in _run_sessions(case, sessions, rate):
        for truth, verdict in found.items():
            counts[truth][verdict["status"]] += 1
    return counts


def _run_sessions(case: SessionCase, sessions: int, rate: float) -> list[dict[float, dict[str, Any]]]:
    """Several at once: they wait for most of their time."""
    with ProcessPoolExecutor(SEVERAL_AT_ONCE) as pool:
        return list(pool.map(run_session, repeat(case), range(1, sessions + 1), repeat(rate)))


def render(found: Sequence[tuple[SessionCase, dict[float, Counter[str]]]], sessions: int) -> Iterator[str]:
    """A Markdown table of PASS / FAIL in percent."""
    yield "| true value ÷ limit | " + " | ".join(f"{truth:.2f}" for truth in TRUTHS) + " |"
    yield "| :-- |" + " --: |" * len(TRUTHS)
    for case, counts in found:
        cells = (f"{100 * c['PASS'] / sessions:.0f} / {100 * c['FAIL'] / sessions:.0f}" for c in counts.values())
        yield f"| {case.name} | {' | '.join(cells)} |"
    others = Counter[str]()
    for _, counts in found:
        others.update({name: n for c in counts.values() for name, n in c.items() if name not in _JUDGED})
    if others:
        yield f"\nwithout a verdict: {dict(others)}"


def run_whole_sessions(sessions: int, only: str) -> Iterator[str]:
    """The lines that say how whole sessions were judged."""
    os.environ.pop("CI", None)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # beside this file lies an xdist.py
    rate = measure_rate()
    error = 100 * math.sqrt(0.25 / sessions)
    yield f"PASS / FAIL in % of {sessions} sessions, each ± {error:.0f} at most; the rest is INCONCLUSIVE."
    yield f"{ROUNDS} rounds; a build at its limit gives {rate:.1f} tok/s on this machine.\n"
    cases = [case for case in CASES if only in case.name]
    yield from render([(case, run_case(case, sessions, rate)) for case in cases], sessions)
