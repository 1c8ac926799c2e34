"""Shared by all tests: a neutral environment, and ways to run pytest with the plugin on tests given as text."""

from __future__ import annotations

import os
import signal
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from textwrap import dedent

import pytest

import pytest_llmperf
from pytest_llmperf.system import known_keys
from tests.helpers import processor_name

# A pytest run inside this process forgets the modules it was first to import, but not those that hold parts of them:
# without this, one and the same constant would exist twice.
for _module in walk_packages(pytest_llmperf.__path__, "pytest_llmperf."):
    import_module(_module.name)

# Under nohup, and as a job in the background of a script, SIGINT is ignored, and so it is in every child: a test that
# sends Ctrl-C would wait in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SIMULATED = "--llm-engine=simulated"
# pytest-asyncio warns where it is not told, and a warning is an error in here.
ASYNCIO = ("-p", "asyncio", "-o", "asyncio_default_fixture_loop_scope=function")
_FAST = {"ttft": "2 ms", "tpot": "1 ms"}
# Neighbours that change every run, or take long to import: only those tests have them that ask for them by "-p NAME".
_ASKED_FOR = (
    *("anyio", "asyncio", "benchmark", "flaky", "html", "html_fixtures", "hypothesispytest", "memray", "metadata"),
    *("pytest_reportlog", "randomly", "rerunfailures", "timeout"),
)
_DISTURBING = (
    "CI",
    "GITHUB_ACTIONS",
    "GITHUB_STEP_SUMMARY",
    "OPENAI_API_KEY",
    "OLLAMA_HOST",
    "CUDA_VISIBLE_DEVICES",
    "PYTEST_ADDOPTS",
)


@pytest.fixture(autouse=True)
def _neutral_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # CI turns strict mode on, and the step summary is written where GitHub says: both must be a test's own choice.
    for name in _DISTURBING:
        monkeypatch.delenv(name, raising=False)
    # Keys that one test has noted must not be hidden in the next.
    monkeypatch.setattr(known_keys, "_known", {})


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """pytest's own, without those neighbours that a test has to ask for."""
    words = [f"-p no:{name}" for name in _ASKED_FOR]
    if processor_name.NAME:  # for the runs in other processes
        words.append(f"-p {processor_name.__name__}")
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
    monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(words))
    return pytester


class Runs:
    """Runs pytest on a test file given as text: called, on the simulated engine; by ``plain``, with no engine."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester

    def __call__(self, source: str, *options: str, **engine_arguments: str) -> pytest.RunResult:
        """In this process, on a simulated engine with these settings (``memory="50 MiB"``)."""
        return self.plain(source, SIMULATED, *self.arguments(**engine_arguments), *options)

    def in_subprocess(self, source: str, *options: str, **engine_arguments: str) -> pytest.RunResult:
        """The same in a process of its own, for what would disturb this one."""
        self.write(source)
        arguments = self.arguments(**engine_arguments)
        return self._pytester.runpytest_subprocess(SIMULATED, *arguments, *options)

    def plain(self, source: str, *options: str) -> pytest.RunResult:
        """In this process, with these options and no others."""
        self.write(source)
        return self._pytester.runpytest_inprocess(*options)

    def write(self, source: str) -> None:
        self._pytester.makepyfile(test_it="import pytest\n\n" + dedent(source))

    @staticmethod
    def arguments(**engine_arguments: str) -> list[str]:
        settings = {**_FAST, **engine_arguments}
        return [f"--llmperf-engine-arg={key}={value}" for key, value in settings.items()]


@pytest.fixture
def runs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Runs tests given as text: ``runs(source, "--llmperf-strict", memory="50 MiB")``; lines are 400 wide."""
    # No name of a processor is long enough that the short summary is cut.
    monkeypatch.setenv("COLUMNS", "400")
    return Runs(pytester)
