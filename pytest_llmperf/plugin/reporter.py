"""Writes the header, the terminal summary and the report files."""

from __future__ import annotations

import os
import platform
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.plugin.terminal import make_showable

if TYPE_CHECKING:
    from pytest_llmperf.budgets.verdict import Status
    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.measurement.engine_info import Device
    from pytest_llmperf.plugin.page.facts import PageFacts
    from pytest_llmperf.plugin.session import Session
    from pytest_llmperf.reports.files.formats import ReportFile
    from pytest_llmperf.reports.result import TestResult

REPORTER = "llmperf_reporter"
PAGE_FACTS = "llmperf_page_facts"
_COLOURS = {"PASS": {"green": True}, "FAIL": {"red": True, "bold": True}}
_OPEN = {"yellow": True}
_SHARED = {"engine": "one engine for all workers", "devices": "devices and an engine for each worker"}


def describe_run(session: Session, *, distributed: bool) -> list[str]:
    """One line that says what will be measured and how; empty for a run without an engine."""
    settings = session.settings
    if not settings.engines:
        return []
    if settings.disable:
        return ["llmperf: disabled, so nothing is measured or judged"]
    engines = [session.registry.create(spec) for spec in settings.engines]
    named = ", ".join(f"{_name(engine)} ({engine.model or engine.base_url})" for engine in engines)
    # Before its start, an engine does not say where it computes.
    found = [device for engine in engines for device in engine.devices or _find_local_devices(engine)]
    devices = " + ".join(dict.fromkeys(device.name for device in found))
    parts = [f"engine {named}", devices, f"memory at {settings.sample_hz:g} samples/s"]
    parts += ["strict"] if settings.strict else []
    parts += [_SHARED[settings.share]] if distributed else []
    lines = [make_showable(f"llmperf: {'; '.join(part for part in parts if part)}")]
    if settings.against:
        from pytest_llmperf.budgets.comparison.changes import FEWEST_PAIRS, MOST_PAIRS

        new, old = (spec.label for spec in settings.engines)
        lines.append(
            f"llmperf: A/B of {new} against {old}: {FEWEST_PAIRS} to {MOST_PAIRS} pairs of turns of each test with "
            f"budgets, of which only the ratios are judged; --llmperf-seed={settings.seed} gives the same order"
        )
    return lines


def _name(engine: Engine) -> str:
    """As ``--llm-engine`` names it, without its model."""
    return f"{engine.spec.variant}={engine.name}" if engine.spec.variant else engine.name


def _find_local_devices(engine: Engine) -> tuple[Device, ...]:
    from pytest_llmperf.telemetry.cpu import engine_devices

    return () if engine.spec.url else engine_devices()


def _describe_error(error: Exception) -> str:
    """What went wrong, in one line; where, unless the operating system said it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {' '.join(str(error).split())} ({last.filename}:{last.lineno})"


def _fail(session: pytest.Session) -> None:
    """Makes a run that would pass fail."""
    if session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def collect_page_facts(session: Session) -> PageFacts:
    """The plugin that collects what only the page shows of a run."""
    from pytest_llmperf.plugin.page.facts import PageFacts

    return PageFacts(session.config, _list_failing(session), [spec.label for spec in session.settings.engines])


def _list_failing(session: Session) -> list[Status]:
    """The statuses of budgets that fail a test of this run."""
    from pytest_llmperf.plugin.page.facts import list_failing

    settings = session.settings
    return list_failing(
        strict=settings.strict, inconclusive=settings.fail_inconclusive, is_first=settings.baselines.makes_first
    )


class Reporter:
    """Collects the results of a run; registered in the only process, or in the controller of pytest-xdist."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._results: dict[str, TestResult] = {}
        self._without_engine = 0
        self._budgeted: set[str] = set()
        self._problems: list[str] = []
        self._written: set[Path] = set()
        self._baseline_lines: list[str] = []
        self._started = time.time()
        self._provenance: dict[str, Any] | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keeps the result of a test, and counts tests skipped because no engine was given."""
        wire: dict[str, Any] | None = getattr(report, "llmperf", None)
        if wire is not None:
            from pytest_llmperf.reports.result import from_wire

            # A rerun replaces the attempt before it: the last one counts.
            self._results[report.nodeid] = from_wire(wire).with_outcome(report.outcome, report.duration)
        if report.when == "teardown" and report.failed and report.nodeid in self._results:
            result = self._results[report.nodeid]
            self._results[report.nodeid] = replace(result, failed_by=result.failed_by or "teardown")
        if getattr(report, "llmperf_no_engine", False):
            self._without_engine += 1
        if getattr(report, "llmperf_budgeted", False):
            self._budgeted.add(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Writes the reports. The run fails if one cannot be written, and if one of its findings is an error."""
        self._find_run_without_verdicts()
        is_sequential = any(result.measurement.get("looks") is not None for result in self._results.values())
        self._session.check_used_options(judged=bool(self._budgeted), sequential=is_sequential)
        self._baseline_lines = self._describe_baselines()
        if self._session.settings.baselines.save and not session.config.getoption("collectonly", False):
            self._store_run(session)
        if self._session.settings.baselines.reference and not session.config.getoption("collectonly", False):
            self._save_reference()
        if self._session.findings.fail:
            _fail(session)
        self._write_reports(session)

    def _store_run(self, session: pytest.Session) -> None:
        """Stores the run. That it cannot be stored makes a run fail that would pass: somebody counts on it."""
        from pytest_llmperf.baselines.errors import StoreError
        from pytest_llmperf.plugin.baselines.asked import runs_for_pull_request
        from pytest_llmperf.plugin.baselines.saving import store_run, why_not_stored

        asked, findings = self._session.settings.baselines, self._session.findings
        if asked.makes_first and runs_for_pull_request():
            text = (
                f"--llmperf-save={asked.save} in the run of a pull request moves its own baseline: store runs of main"
            )
            findings.add(f"{text} only, or under another name", error=False)
        failed = session.testsfailed or int(session.exitstatus != pytest.ExitCode.OK) or int(findings.fail)
        early = session.exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
        why = "it was interrupted" if early else str(session.shouldstop or session.shouldfail or "")
        problem = why_not_stored(self.results, ended_early=why, failed=failed, anyway=asked.save_anyway)
        if not problem:
            try:
                self._baseline_lines += store_run(self.results, self.describe_session(), asked)
            except StoreError as error:
                problem = str(error)
        if problem:
            findings.add(f"not stored as {asked.save}: {problem}", error=True)

    def _save_reference(self) -> None:
        """Writes the reference. That it cannot be written makes a run fail that would pass."""
        from pytest_llmperf.baselines.errors import StoreError
        from pytest_llmperf.plugin.baselines.saving import save_reference

        path = self._session.settings.baselines.reference
        try:
            self._baseline_lines += [save_reference(self.results, path)] if path is not None else []
        except StoreError as error:
            self._session.findings.add(f"--llmperf-save-reference: no reference was written: {error}", error=True)

    def _describe_baselines(self) -> list[str]:
        """What the run was compared with."""
        if not self._results:
            return []
        from pytest_llmperf.plugin.baselines import lines

        settings, results = self._session.settings, self.results
        if settings.against:  # each change is one within this session
            return []
        found = lines.list_broken_together(results)
        if any(verdict.relative for result in results for verdict in result.verdicts):
            found += lines.list_comparisons(results, self.describe_session(), self._session.past_runs)
        if settings.baselines.shows_all:
            found += lines.list_changes(results, self._session.past_runs)
        return found

    def _find_run_without_verdicts(self) -> None:
        config = self._session.config
        if not self._budgeted or any(result.verdicts for result in self._results.values()):
            return
        if config.getoption("setuponly", False) or config.getoption("setupplan", False):
            return
        strict = self._session.settings.strict
        why = self._session.why_nothing_is_judged(self._without_engine)
        if why and (strict or not self._without_engine):  # elsewhere a line counts the tests without an engine
            tests = "1 test" if len(self._budgeted) == 1 else f"{len(self._budgeted)} tests"
            self._session.findings.add(f"no budget of {tests} was judged: {why}", error=strict)

    def _write_reports(self, session: pytest.Session) -> None:
        summary_file = os.environ.get("GITHUB_STEP_SUMMARY") if self._has_something_to_tell(session) else None
        if not self._session.settings.reports and not summary_file:
            return
        from pytest_llmperf.reports.markdown import report as markdown

        self._problems.clear()
        results, reports = self.results, self._session.settings.reports
        written = [file for file in reports if self._write_report(session, file)]
        for file in written if len(written) < len(reports) else ():
            if file.shows_run:  # it was written before the run failed by the other report
                self._write_report(session, file)
        if summary_file:
            try:
                markdown.append(Path(summary_file), markdown.render(results, self._describe_run(session)))
            except OSError as error:
                self._problems.append(f"GITHUB_STEP_SUMMARY could not be written: {error.strerror}")

    def _write_report(self, session: pytest.Session, file: ReportFile) -> bool:
        """Writes a report, and says whether that was possible. That it is not makes a run fail that would pass."""
        from pytest_llmperf.system.files.whole import write_whole

        try:
            if file.shows_run:
                facts = self._describe_run(session, file.path)
            else:
                facts = {**self.describe_session(), "baselines": [*self._baseline_lines]}
            write_whole(file.path, file.render(self.results, facts))
        except Exception as error:  # the renderer may be another package's, and the summary is still to come
            self._problems.append(f"the report {file.path} could not be written: {_describe_error(error)}")
            self._written.discard(file.path)
            _fail(session)
            return False
        self._written.add(file.path)
        return True

    def note_termination(self) -> None:
        """Notes that the run was ended before its last test, for all that tells of it."""
        from pytest_llmperf.plugin.ending.termination import SENTENCE

        self._session.findings.add(SENTENCE, error=True)

    def write_early(self) -> None:
        """Writes the reports with the results so far. A run that gets to its end writes them again."""
        session: pytest.Session | None = self._session.config.pluginmanager.get_plugin("session")
        if session is not None:
            for file in self._session.settings.reports:
                self._write_report(session, file)

    def _has_something_to_tell(self, session: pytest.Session) -> bool:
        """Whether tests were measured, or the run failed before one was; False for a suite without engines."""
        failed = int(session.exitstatus) not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        is_red = self._session.findings.fail or (failed and bool(self._session.settings.engines))
        collects_only = session.config.getoption("collectonly", False)
        return bool(self._results) or (is_red and not collects_only)

    @property
    def shows_run(self) -> bool:
        """Whether a report will show what failed the run."""
        return bool(os.environ.get("GITHUB_STEP_SUMMARY")) or any(f.shows_run for f in self._session.settings.reports)

    def _describe_run(self, session: pytest.Session, itself: Path | None = None) -> dict[str, Any]:
        """The facts of the run for a report at a path that shows what failed it, which names the other reports."""
        from pytest_llmperf.system.known_keys import hide_keys_in

        others = [file.path.name for file in self._session.settings.reports if file.path != itself]
        facts = self._describe_page(int(session.exitstatus), self._read_trends())
        findings = [*facts["findings"], *(f"error: {problem}" for problem in self._problems)]
        return {**facts, "findings": hide_keys_in(findings), "reports": others}

    def describe_for_page(self) -> tuple[list[TestResult], dict[str, Any]]:
        """The results so far, and the run with what only the page shows of it, without its trends."""
        session: pytest.Session | None = self._session.config.pluginmanager.get_plugin("session")
        return self.results, self._describe_page(None if session is None else int(session.exitstatus), [])

    def _describe_page(self, exit_status: int | None, trends: list[dict[str, Any]]) -> dict[str, Any]:
        from pytest_llmperf.system.known_keys import hide_keys_in

        page: PageFacts | None = self._session.config.pluginmanager.get_plugin(PAGE_FACTS)
        run = {} if page is None else page.describe(exit_status, trends)
        return {**self.describe_session(), "baselines": [*self._baseline_lines], "run": hide_keys_in(run)}

    def _read_trends(self) -> list[dict[str, Any]]:
        """The history of limited metrics; an A/B run has none."""
        from pytest_llmperf.plugin.page.trends import read_trends

        asked = self._session.settings.baselines
        return (
            []
            if self._session.settings.against
            else read_trends(self.results, asked.store, asked.save or asked.compare)
        )

    @property
    def results(self) -> list[TestResult]:
        """One for each test, in the order in which they ended."""
        return list(self._results.values())

    def describe_session(self) -> dict[str, Any]:
        """The run itself, as plain data for the reports."""
        from pytest_llmperf.plugin.provenance.facts import describe_provenance
        from pytest_llmperf.system.known_keys import hide_keys_in
        from pytest_llmperf.system.version import __version__

        config = self._session.config
        if self._provenance is None:
            arguments = map(str, config.invocation_params.args)
            self._provenance = describe_provenance(self._started, arguments, config.rootpath)
        facts = {
            "pytest_llmperf": __version__,
            "pytest": pytest.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            **self._provenance,
            "engines": self._session.settings.suite_labels,
            "strict": self._session.settings.strict,
            "session_noise": self._session.settings.session_noise,
            "sample_hz": float(self._session.settings.sample_hz),
            "calls_outside_tests": self._session.calls_outside,
            "findings": self._session.findings.lines,
        }
        hidden: dict[str, Any] = hide_keys_in(facts)
        return hidden

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Prints the verdicts and what else the run has to say."""
        lines = self._summary(terminalreporter)
        # Since pytest 9.2 --no-summary silences pytest's own summaries only.
        if terminalreporter.config.getoption("no_summary", default=False):
            lines = [make_showable(f"error: {text}") for text in self._session.findings.errors]
        if not lines:
            return
        if not self._session.terminal.knows_unicode:
            from pytest_llmperf.reports.text import to_ascii

            lines = [to_ascii(line) for line in lines]
        terminalreporter.write_sep("=", "llmperf")
        for line in lines:
            terminalreporter.write_line(line)

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Writes the workflow commands for GitHub Actions, which reads them from the log, at the start of a line."""
        if os.environ.get("GITHUB_ACTIONS") != "true" or not (self._results or self._session.findings.fail):
            return
        from pytest_llmperf.reports.github.annotations import find_project, list_annotations
        from pytest_llmperf.system.known_keys import hide_keys_in

        failing, errors = _list_failing(self._session), hide_keys_in(self._session.findings.errors)
        folder = find_project(config.rootpath, os.environ)
        for line in list_annotations(self.results, failing, errors, folder):
            print(line, flush=True)

    def _summary(self, terminalreporter: pytest.TerminalReporter) -> list[str]:
        lines = []
        if self._results:
            from pytest_llmperf.reports.terminal.summary import render_summary, warn_of_session_noise

            writer = terminalreporter.config.get_terminal_writer()
            lines += render_summary(
                self.results,
                width=writer.fullwidth,
                unicode=self._session.terminal.knows_unicode,
                engines=self._session.settings.suite_labels,
                table=self._session.settings.table,
                paint=lambda text, status: writer.markup(text, **_COLOURS.get(status, _OPEN)),
                more=self._name_reports() or "--llmperf-report=out.html",
            )
            if self._session.settings.session_noise is None:
                lines += warn_of_session_noise(self.results)
        lines += [make_showable(line) for line in self._baseline_lines]
        if outside := self._session.calls_outside:
            if outside == 1:
                lines.append("1 call of the app belongs to no test: it came while none was measured")
            else:
                lines.append(f"{outside} calls of the app belong to no test: they came while none was measured")
        if self._without_engine:
            lines.append(f"{self._without_engine} skipped because no engine was given: --llm-engine=NAME runs them")
        if again := self._find_command_of_worst():
            lines.append(f"again: {make_showable(again)}")
        paths = [file.path for file in self._session.settings.reports]
        written = [f"report: {path}" for path in paths if self._results and path in self._written]
        others = [*written, *self._problems, *self._session.findings.lines]
        return lines + [make_showable(line) for line in others]

    def _name_reports(self) -> str:
        """The files of this run's reports; empty if there are none."""
        return ", ".join(file.path.name for file in self._session.settings.reports)

    def _find_command_of_worst(self) -> str:
        """The command that runs the test with the worst broken budget again; empty if no budget is broken."""
        from pytest_llmperf.budgets.verdict import Status
        from pytest_llmperf.plugin.page.facts import describe_command
        from pytest_llmperf.reports.page.command import format_command
        from pytest_llmperf.reports.verdicts import sort_worst_first

        failed = [result for result in self.results if result.outcome == "failed"]  # not those that may fail
        pairs = sort_worst_first([(result, verdict) for result in failed for verdict in result.verdicts])
        if not pairs or pairs[0][1].status is not Status.FAIL:
            return ""
        return format_command(pairs[0][0].nodeid, describe_command(self._session.config))
