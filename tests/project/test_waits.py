"""Every wait in tests, benchmarks and scripts has an end.

A call that may block has a timeout, and a loop that sleeps a deadline.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FOLDERS = ("tests", "benchmarks", "scripts")
# A timeout may be their first argument; with one argument, "join" may be that of a string.
BLOCK_WITHOUT_ARGUMENTS = {"get", "join", "result", "wait"}
BLOCK_WITHOUT_TIMEOUT = {"call", "check_call", "check_output", "communicate", "run", "urlopen"}
OUTPUTS = {"stderr", "stdout"}
CLOCKS = {"monotonic", "monotonic_ns"}


def endless_waits(code: str) -> Iterator[tuple[int, str]]:
    """Line and text of each wait without an end in this code, but for code in its strings."""
    nodes = list(ast.walk(ast.parse(code)))
    ended = {id(node.args[0]) for node in nodes if isinstance(node, ast.Call) and _is_deadline(node)}
    for node in nodes:
        if isinstance(node, ast.Call | ast.While | ast.For) and id(node) not in ended and _is_endless(node):
            yield node.lineno, ast.unparse(node).partition("\n")[0]


def _is_deadline(call: ast.Call) -> bool:
    """Whether a call ends what it is given as its first argument after a while."""
    return _name(call) == "wait_for" and (len(call.args) == 2 or bool(call.args and call.keywords))


def _is_endless(node: ast.Call | ast.While | ast.For) -> bool:
    if isinstance(node, ast.For):
        return isinstance(node.iter, ast.Attribute) and node.iter.attr in OUTPUTS
    if isinstance(node, ast.While):  # a "while True" is a service, and waits for nothing
        names = {_name(call) for call in ast.walk(node) if isinstance(call, ast.Call)}
        return not isinstance(node.test, ast.Constant) and "sleep" in names and not names & CLOCKS
    owner = ast.unparse(node.func).rpartition(".")[0]
    if any(keyword.arg in ("timeout", "timeout_s") for keyword in node.keywords):
        return False
    if _name(node) in BLOCK_WITHOUT_ARGUMENTS:
        return bool(owner) and not node.args and not node.keywords
    if _name(node) in ("read", "readline"):
        return owner.rpartition(".")[2] in OUTPUTS
    return _name(node) in BLOCK_WITHOUT_TIMEOUT and (_name(node) in ("communicate", "urlopen") or owner == "subprocess")


def _name(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def test_every_wait_has_an_end() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, text in endless_waits(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(["waits without a timeout:", *found])


@pytest.mark.parametrize(
    "code",
    [
        "event.wait()",
        "threads[0].join()",
        "queue.get()",
        "process.communicate('in')",
        "subprocess.run(command, check=True)",
        "self.process.stdout.readline()",
        "for line in process.stdout:\n    print(line)",
        "while not path.exists():\n    time.sleep(0.1)",
    ],
)
def test_a_wait_without_an_end_is_found_with_its_line(code: str) -> None:
    text = code.partition("\n")[0]
    assert list(endless_waits(f"import time\n{code}\n")) == [(2, text)]


@pytest.mark.parametrize(
    "code",
    [
        "event.wait(PATIENCE_S)",
        "asyncio.wait_for(event.wait(), PATIENCE_S)",
        "asyncio.wait_for(event.wait(), timeout=PATIENCE_S)",
        "', '.join(words)",
        "found.get('key')",
        "process.communicate(timeout=PATIENCE_S)",
        "subprocess.run(command, timeout=PATIENCE_S)",
        "Path('log').open().read()",
        "while not path.exists():\n    assert time.monotonic() < deadline\n    time.sleep(0.1)",
        "while True:\n    time.sleep(1)",
    ],
)
def test_a_wait_with_an_end_is_not(code: str) -> None:
    assert list(endless_waits(code)) == []
