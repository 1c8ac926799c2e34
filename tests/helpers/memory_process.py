"""Child processes whose memory follows commands, for the tests of what reads memory."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from tests.helpers.waiting import PATIENCE_S, read_line

if TYPE_CHECKING:
    from types import TracebackType

MIB = 2**20

# Commands on stdin, one a line: "grow N" and "shrink" (MiB of private memory), "fork" (a copy of this process that
# sleeps), "child N" (another process that holds N MiB), "bury" (end the newest child), "exit". Each answers a line.
_SOURCE = """
import mmap, os, signal, subprocess, sys
held, children = [], []
print("ready", flush=True)
for line in sys.stdin:
    word, *number = line.split()
    if word == "grow":
        held.append(mmap.mmap(-1, int(number[0]) << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        for _ in range(int(number[0])):
            held[-1].write(b"x" * (1 << 20))
    elif word == "shrink":
        held.pop().close()
    elif word == "fork":
        pid = os.fork()
        if pid == 0:
            signal.pause()
        children.append(pid)
    elif word == "child":
        code = "import sys; m = bytearray(b'x') * (int(sys.argv[1]) << 20); print(flush=True); sys.stdin.read()"
        child = subprocess.Popen(
            [sys.executable, "-c", code, number[0]], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        child.stdout.readline()
        children.append(child.pid)
    elif word == "bury":
        os.kill(children[-1], signal.SIGKILL)
        os.waitpid(children.pop(), 0)
    elif word == "exit":
        break
    print(children[-1] if children else 0, flush=True)
for pid in children:
    os.kill(pid, signal.SIGKILL)
os._exit(0)
"""


class MemoryProcess:
    """A process that holds as much memory as it is told to; a context manager that leaves nothing behind."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SOURCE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid
        self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as stack:
            for stream in (self._process.stdin, self._process.stdout):
                assert stream is not None
                stack.callback(stream.close)
            if self._process.poll() is None:
                self.exit()

    def grow(self, mebibytes: int) -> None:
        self._do(f"grow {mebibytes}")

    def shrink(self) -> None:
        """Give the latest growth back."""
        self._do("shrink")

    def fork(self) -> int:
        return self._do("fork")

    def child(self, mebibytes: int) -> int:
        return self._do(f"child {mebibytes}")

    def bury(self) -> None:
        """End and reap the newest child."""
        self._do("bury")

    def exit(self) -> None:
        """End this process and its children."""
        self._tell("exit")
        self._process.wait(PATIENCE_S)

    def become_a_zombie(self) -> None:
        """End, and be left unreaped."""
        self._tell("exit")
        assert read_line(self._process.stdout) == ""

    def _do(self, command: str) -> int:
        self._tell(command)
        return int(self._answer())

    def _tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def _answer(self) -> str:
        return read_line(self._process.stdout).strip()
