"""vLLM inside pytest, for real: its tests run in an environment that has it, with this pytest and this plugin."""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from functools import partial
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
import pytest

from pytest_llmperf.reports.report_file import read_report
from tests.engines.vllm_here import PYTHON, TINY
from tests.helpers.engine_processes import runs
from tests.helpers.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("vllm_installed")
HERE = Path(__file__).parent
SUITE, CHILD_SUITE = HERE / "vllm_offline_suite.py", HERE / "vllm_child_suite.py"
# What pytest is made of; everything else that the plugin needs, vLLM's environment has.
LENT = ("pytest", "pluggy", "iniconfig")
ARGUMENTS = ("mode=offline", "kv_cache=256 MiB", "enforce_eager=true", "max_model_len=2048")
START_PATIENCE_S = 300
CHILD = {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}


def names(suite: Path) -> list[str]:
    return [
        node.name for node in ast.parse(suite.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)
    ]


class House:
    """Runs pytest in vLLM's environment, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Short, since sockets lie in it.
        self.temporary = Path(tempfile.mkdtemp(prefix="llmperf-test-", dir="/tmp"))
        lent = folder / "lent"
        lent.mkdir()
        for found in map(distribution, LENT):
            for module in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
                (lent / module).symlink_to(str(found.locate_file(module)))
        search = os.pathsep.join([str(HERE.parents[1]), str(lent)])
        self._settings = {"PYTHONPATH": search, "TMPDIR": str(self.temporary)}

    def start(self, suite: Path, *options: str, environ: dict[str, str] | None = None) -> subprocess.Popen[str]:
        shutil.copy(suite, self.folder / "test_it.py")
        command = [str(PYTHON), "-m", "pytest", "-p", "pytest_llmperf.plugin", "-p", "no:cacheprovider", "-rA"]
        command += ["--llm-engine=vllm", f"--llmperf-model={TINY}", "--llmperf-strict", *options, "test_it.py"]
        command += [f"--llmperf-engine-arg={argument}" for argument in ARGUMENTS]
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("VLLM_", "HF_", "OMP_"))}
        settings = {**self._settings, **(environ or {})}
        with (self.folder / "said").open("w", encoding="utf-8") as said:
            return subprocess.Popen(
                command, cwd=self.folder, env=kept | settings, text=True, stdout=said, stderr=subprocess.STDOUT
            )

    def run(self, suite: Path, *options: str, environ: dict[str, str] | None = None) -> str:
        """All that it says."""
        with self.start(suite, *options, environ=environ) as process:
            process.wait(600)
        return self.said

    def clean_up(self) -> None:
        """As the next run does, and the command for kept engines."""
        command = [str(PYTHON), "-m", "pytest_llmperf", "engines"]
        subprocess.run(command, env=os.environ | self._settings, check=True, capture_output=True, timeout=PATIENCE_S)

    def left(self) -> list[str]:
        """The files that are left of engines, but for what pytest keeps, and torch's cache of what it has compiled."""
        names = [path.name for path in self.temporary.iterdir()]
        return [name for name in names if not name.startswith(("pytest-", "torchinductor_"))]

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def session(vllm_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the session in one process said, and its report."""
    house = House(tmp_path_factory.mktemp("session"))
    # A warning of vLLM's own must not fail a project that turns warnings into errors.
    said = house.run(SUITE, "--llmperf-report=report.json", "-Werror")
    report = house.folder / "report.json"
    assert report.exists(), said
    yield said, read_report(report)
    shutil.rmtree(house.temporary)


@pytest.fixture(scope="module")
def child_session(vllm_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, House]]:
    """What the session with a child process said, and where it ran."""
    house = House(tmp_path_factory.mktemp("child"))
    yield house.run(CHILD_SUITE, environ=CHILD), house
    shutil.rmtree(house.temporary)


@pytest.mark.parametrize("name", [name for name in names(SUITE) if name.startswith("test_")])
def test_in_this_process(name: str, session: tuple[str, dict[str, Any]]) -> None:
    assert f"PASSED test_it.py::{name}\n" in session[0], session[0]


def test_budgets_are_judged_on_what_the_engine_tells(session: tuple[str, dict[str, Any]]) -> None:
    [judged] = [test for test in session[1]["tests"] if test["verdicts"]]
    assert {verdict["status"] for verdict in judged["verdicts"]} == {"PASS"}
    assert len(judged["verdicts"]) == 10


@pytest.mark.parametrize("name", [name for name in names(CHILD_SUITE) if name.startswith("test_")])
def test_with_a_child(name: str, child_session: tuple[str, House]) -> None:
    outcome = "SKIPPED" if name.startswith("test_waits") else "PASSED"
    assert any(outcome in line and (name in line or outcome == "SKIPPED") for line in child_session[0].splitlines()), (
        child_session[0]
    )


def test_a_session_leaves_no_file_behind(child_session: tuple[str, House]) -> None:
    assert child_session[1].left() == []


class Ended(NamedTuple):
    """A pytest that has loaded a model, and waits to be ended; ``tree`` is what it runs with that."""

    house: House
    process: subprocess.Popen[str]
    tree: list[int]


def _is_ready_or_ended(ready: Path, process: subprocess.Popen[str]) -> bool:
    return ready.exists() or process.poll() is not None


SIGNALS = (signal.SIGKILL, signal.SIGINT)


@pytest.fixture(scope="module")
def waiting(vllm_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[signal.Signals, Ended]]:
    """One for each signal, loaded side by side."""
    with contextlib.ExitStack() as stack:
        begun = []
        for number in SIGNALS:
            house = House(tmp_path_factory.mktemp(number.name))
            stack.callback(shutil.rmtree, house.temporary)
            process = house.start(CHILD_SUITE, environ={**CHILD, "WAIT_IN": str(house.folder / "ready")})
            stack.enter_context(process)
            stack.enter_context(_killed(process.pid))
            begun.append((number, house, process))
        found = {}
        for number, house, process in begun:
            ready = house.folder / "ready"
            until(partial(_is_ready_or_ended, ready, process), START_PATIENCE_S)
            assert ready.exists(), house.said
            found[number] = Ended(house, process, [int(pid) for pid in ready.read_text(encoding="utf-8").split()])
        yield found


@pytest.mark.parametrize("number", SIGNALS)
def test_nothing_outlives_a_pytest_that_is_ended_by(
    number: signal.Signals, waiting: dict[signal.Signals, Ended]
) -> None:
    house, process, tree = waiting[number]
    assert len(tree) >= 3
    process.send_signal(number)
    until(lambda: not any(map(runs, tree)) and process.poll() is not None)
    house.clean_up()
    assert house.left() == []


@contextlib.contextmanager
def _killed(pid: int) -> Iterator[None]:
    """Whatever happens, nothing of it is left running."""
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for member in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
                member.kill()
