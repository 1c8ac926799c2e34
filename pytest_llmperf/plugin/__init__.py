"""The pytest hooks, each a few lines that delegate. Every pytest run imports this file, so it reaches nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.registry import EngineRegistry
from pytest_llmperf.plugin import benchmark, hookspecs, options, settings
from pytest_llmperf.plugin.ending.termination import Termination
from pytest_llmperf.plugin.fixtures import (
    llm_base_url,
    llm_client,
    llm_client_factory,
    llm_engine,
    llm_engine_args,
    llm_engine_factory,
    llm_perf,
    vllm_llm,
)
from pytest_llmperf.plugin.markers.marks import register_markers
from pytest_llmperf.plugin.preflight.budget_reader import LIMITS
from pytest_llmperf.plugin.preflight.engine_overrides import parametrize_engine
from pytest_llmperf.plugin.reporter import PAGE_FACTS, REPORTER, Reporter, collect_page_facts, describe_run
from pytest_llmperf.plugin.session import MEASURED_RUN, RESULT, SESSION, Session
from pytest_llmperf.plugin.worker import is_controller_of_workers, is_worker, run_folder
from pytest_llmperf.plugin.xdist import Controller, MeasuringLock, WorkerResults, propose_workers

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = [
    "llm_base_url",
    "llm_client",
    "llm_client_factory",
    "llm_engine",
    "llm_engine_args",
    "llm_engine_factory",
    "llm_perf",
    "vllm_llm",
]


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Registers the hooks that other packages may implement."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Registers the options and their ini twins."""
    options.add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Runs the suite several times for ``--llmperf-calibrate``, in place of the one run."""
    runs = settings.count_calibration_runs(config)
    if not runs:
        return None
    from pytest_llmperf.plugin.calibration.command_line import calibrate

    return calibrate(config, runs)


def pytest_configure(config: pytest.Config) -> None:
    """Reads the options, and registers the parts of the plugin that this process needs."""
    register_markers(config)
    registry = EngineRegistry(config.hook.pytest_llmperf_engines)
    session = Session(config, settings.Settings.from_config(config, registry), registry)
    session.note_keys()
    session.budgets.load_file()
    session.check_options()
    config.stash[SESSION] = session
    if not is_worker(config):
        reporter = Reporter(session)
        config.pluginmanager.register(reporter, REPORTER)
        if session.settings.engines and not session.settings.disable:
            termination = Termination(reporter.note_termination, reporter.write_early)
            config.pluginmanager.register(termination, "llmperf_termination")
        pytest_html = bool(config.getoption("htmlpath", None))
        if pytest_html or reporter.shows_run:
            config.pluginmanager.register(collect_page_facts(session), PAGE_FACTS)
        if pytest_html:
            from pytest_llmperf.plugin.page.pytest_html import PytestHtmlBridge

            config.pluginmanager.register(PytestHtmlBridge(reporter.describe_for_page), "llmperf_pytest_html")
    if is_controller_of_workers(config):
        config.pluginmanager.register(WorkerResults(session), "llmperf_worker_results")
        if session.settings.engines and not session.settings.disable:
            config.pluginmanager.register(Controller(session), "llmperf_controller")
    if folder := run_folder(config):
        config.pluginmanager.register(MeasuringLock(session, folder), "llmperf_measuring_lock")
    config.pluginmanager.register(session.clock, "llmperf_clock")
    config.pluginmanager.register(session.budgets.collection, "llmperf_collection")
    if benchmark.is_installed(config):
        config.pluginmanager.register(benchmark.Bridge(session), "llmperf_benchmark")


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """The number of workers for ``-n auto``; None leaves it to pytest-xdist."""
    return propose_workers(config)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Counts the calls of apps that came after the last test, and keeps the logs of engines if a test failed."""
    state = session.config.stash.get(SESSION, None)
    if state is not None:
        state.finish(failed=bool(session.testsfailed))


@pytest.hookimpl(wrapper=True)
def pytest_unconfigure(config: pytest.Config) -> Generator[None, object, object]:
    """Ends engines, sampler and relays, also when the hook of another plugin fails or is interrupted."""
    try:
        return (yield)
    finally:
        session = config.stash.get(SESSION, None)
        if session is not None:
            session.close()
            session.budgets.forget_file()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """One line: engines, devices, sampling rate."""
    return describe_run(config.stash[SESSION], distributed=is_controller_of_workers(config))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs each test that uses an engine once per ``--llm-engine``, with the settings that it has overridden."""
    session = metafunc.config.stash[SESSION]
    session.note_overrides(parametrize_engine(metafunc, session.settings.suite_engines))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Reads the budgets of each test, so that mistakes are known before an engine starts."""
    session.config.stash[SESSION].budgets.read(session.items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuses mistakes, skips tests of other engines, and opens the measurement."""
    session = item.config.stash[SESSION]
    session.refuse_mistakes(item)
    session.skip_other_engines(item)
    session.begin_measuring(item)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Measures the test, judges its budgets, and raises the failure if one fails."""
    session = item.config.stash[SESSION]
    session.refuse_late_markers(item)
    measured = item.stash.get(MEASURED_RUN, None)
    if measured is None:
        result = yield
        session.refuse_late_markers(item)
        return result
    from pytest_llmperf.plugin.call_phase import (
        end_turns,
        judge_test,
        note_turn,
        open_window,
        run_further_rounds,
    )

    try:
        open_window(item, measured, session)
        result = yield
        run_further_rounds(item, measured, session.settings)
    except (pytest.skip.Exception, pytest.exit.Exception, KeyboardInterrupt):
        measured.cancel()
        raise
    except BaseException as error:
        judge_test(item, measured, is_whole=False)
        note_turn(item, error)
        raise
    else:
        failure = judge_test(item, measured)
    finally:
        end_turns(item)
    if failure is not None:
        raise failure
    session.refuse_late_markers(item)
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the result and its table to the report."""
    report = yield
    if call.when == "setup" and LIMITS in item.stash:
        report.llmperf_budgeted = True  # type: ignore[attr-defined]
    if call.excinfo is not None or (call.when == "call" and RESULT in item.stash):
        from pytest_llmperf.plugin.call_phase import attach_result

        attach_result(item, call, report)
    if call.excinfo is not None or item.config.stash[SESSION].settings.engines:
        from pytest_llmperf.plugin.hiding.reports import hide_keys_of_report

        hide_keys_of_report(report)
    return report
