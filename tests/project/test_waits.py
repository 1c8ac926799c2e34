"""Every wait in the package, in tests, benchmarks and scripts has an end.

A call that may block has a timeout, and a loop that sleeps a deadline. A socket has one wherever it is read or written.
What ends the few waits of the package that have neither stands in a table.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FOLDERS = ("pytest_llmperf", "tests", "benchmarks", "scripts")
# A timeout may be their first argument; with one argument, "join" may be that of a string.
BLOCK_WITHOUT_ARGUMENTS = {"get", "join", "result", "wait"}
BLOCK_WITHOUT_TIMEOUT = {"call", "check_call", "check_output", "communicate", "run", "urlopen"}
OUTPUTS = {"stderr", "stdout"}
CLOCKS = {"monotonic", "monotonic_ns", "perf_counter"}
SOCKET_CALLS = {"accept", "connect", "recv", "recv_into", "recvmsg", "recv_fds", "sendall"}
SOCKET_TIMEOUTS = ("settimeout(", "setblocking(False)", "select(", "timeout=")
SETTLED = {
    "engines/lifecycle/shared_run.py": "the kernel frees the lock when its holder ends, whose own waits have ends",
    "engines/ollama/cleanup/process.py": "as of shared_run; the last user of before cleans up within its own limits",
    "plugin/calibration/suite_run.py": "a suite takes as long as it takes; Ctrl-C ends it",
    "engines/simulated/http.py": "asks a task that is done",
    "engines/simulated/server.py": "a server waits to be asked, and its warden ends it",
    "engines/simulated/slot_queue.py": "a request waits for its turn; it is cancelled when its client hangs up",
    "engines/simulated/step_clock.py": "the clock of the server wakes it, which ends with its warden",
    "engines/vllm/offline/requests.py": "an engine within this process, which each step moves on",
    "testing/double.py": "a driver that hangs, until the test that asked for it goes on",
    "traffic/client/arrivals.py": "the timeout is that of the socket, which its caller sets",
    "traffic/client/lag.py": "a thread that sleeps while there are no requests, and ends with the process",
    "traffic/client/connections.py": "requests that have ends, a future that is done, a connection that was aborted",
    "traffic/load/main.py": "the load client ends with its parent, and each of its requests has an end",
    "traffic/load/connections.py": "each connection is opened within a timeout",
}
"""The files of the package with waits that something else ends, and what."""


def endless_waits(code: str, *, in_package: bool = True) -> Iterator[tuple[int, str]]:
    """Line and text of each wait without an end in this code, but for code in its strings.

    ``in_package`` looks at sockets, futures and processes without a name as well: those of a test are mostly ones that
    the test itself has just served.
    """
    has_timeouts = not in_package or any(word in code for word in SOCKET_TIMEOUTS)
    nodes = list(ast.walk(ast.parse(code)))
    bounded = {id(part) for node in nodes for part in _list_bounded(node)}
    for node in nodes:
        is_endless = isinstance(node, ast.Call | ast.While | ast.For) and _is_endless(node)
        if in_package and isinstance(node, ast.Call | ast.Await):
            is_endless = is_endless or _may_block(node) or (not has_timeouts and _is_of_socket(node))
        if is_endless and id(node) not in bounded:
            yield getattr(node, "lineno", 0), ast.unparse(node).partition("\n")[0]


def _list_bounded(node: ast.AST) -> Iterator[ast.AST]:
    """What a timeout around it ends: an argument of ``wait_for``, the body of ``asyncio.timeout``."""
    if isinstance(node, ast.Call) and _name(node) == "wait_for" and len(node.args) + len(node.keywords) > 1:
        yield from ast.walk(node.args[0])
    if isinstance(node, ast.AsyncWith) and "asyncio.timeout" in ast.unparse(node.items[0].context_expr):
        for statement in node.body:
            yield from ast.walk(statement)


def _is_endless(node: ast.Call | ast.While | ast.For) -> bool:
    if isinstance(node, ast.For):
        return isinstance(node.iter, ast.Attribute) and node.iter.attr in OUTPUTS
    if isinstance(node, ast.While):  # a "while True" is a service, and waits for nothing
        names = {_name(call) for call in ast.walk(node) if isinstance(call, ast.Call)}
        return not isinstance(node.test, ast.Constant) and "sleep" in names and not names & CLOCKS
    owner = ast.unparse(node.func).rpartition(".")[0]
    if any(keyword.arg in ("timeout", "timeout_s") for keyword in node.keywords):
        return False
    if (owner, _name(node)) == ("select", "select"):
        return len(node.args) < 4
    if _name(node) in BLOCK_WITHOUT_ARGUMENTS:
        return bool(owner) and not node.args and not node.keywords
    if _name(node) in ("read", "readline"):
        return owner.rpartition(".")[2] in OUTPUTS
    return _name(node) in BLOCK_WITHOUT_TIMEOUT and (_name(node) in ("communicate", "urlopen") or owner == "subprocess")


def _may_block(node: ast.Call | ast.Await) -> bool:
    """Whether it is of the kinds that are looked for in the package only."""
    if isinstance(node, ast.Await):  # of a future; a call is looked at itself
        return isinstance(node.value, ast.Name | ast.Attribute)
    owner, text = ast.unparse(node.func).rpartition(".")[0], ast.unparse(node)
    match owner, _name(node):
        case "fcntl", "flock" | "lockf":
            return "LOCK_NB" not in text and "LOCK_UN" not in text
        case "os", "waitpid" | "wait4":
            return "WNOHANG" not in text
        case ("asyncio", "wait" | "as_completed") | ("socket", "create_connection"):
            return len(node.args) < 2 and "timeout=" not in text
        case _, "poll":
            return owner.rpartition(".")[2].endswith("poll") and not node.args
        case _, "acquire" | "recv" | "select":
            return bool(owner) and not node.args and not node.keywords
    return False


def _is_of_socket(node: ast.Call | ast.Await) -> bool:
    is_method = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    return is_method and isinstance(node, ast.Call) and _name(node) in SOCKET_CALLS and bool(node.args)


def _name(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def find_endless_waits() -> dict[str, list[str]]:
    """The waits without an end of each file that has some, by its path."""
    found: dict[str, list[str]] = {}
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        for line, text in endless_waits(path.read_text(encoding="utf-8"), in_package=name.startswith(FOLDERS[0])):
            found.setdefault(name.removeprefix("pytest_llmperf/"), []).append(f"{name}:{line}: {text}")
    return found


def test_every_wait_has_an_end_and_the_table_names_no_other_file() -> None:
    found = find_endless_waits()
    lines = [line for name in found if name not in SETTLED for line in found[name]]
    assert not lines, "\n".join(["waits without a timeout:", *lines])
    assert [name for name in SETTLED if name not in found] == []


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
        "lock.acquire()",
        "connection.recv()",
        "selector.select()",
        "select.select([pipe], [], [])",
        "poll.poll()",
        "fcntl.flock(file, fcntl.LOCK_EX)",
        "os.waitpid(pid, 0)",
        "subprocess.call(command)",
        "socket.create_connection(address)",
        "connection.recv(65536)",
        "connection.sendall(data)",
        "listener.connect(address)",
        "asyncio.wait(tasks)",
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
        "select.select([pipe], [], [], 1.0)",
        "process.poll()",
        "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "os.waitpid(pid, os.WNOHANG)",
        "socket.create_connection(address, 5.0)",
        "connection.settimeout(5)\nconnection.recv(65536)",
        "asyncio.wait(tasks, timeout=1)",
        "async def run():\n    async with asyncio.timeout(5):\n        await event.wait()",
    ],
)
def test_a_wait_with_an_end_is_not(code: str) -> None:
    assert list(endless_waits(code)) == []


@pytest.mark.parametrize("future", ["done", "self.closed"])
def test_a_future_without_an_end_is_found(future: str) -> None:
    assert list(endless_waits(f"async def run():\n    await {future}\n")) == [(2, f"await {future}")]
