"""The program on the GPU, seen from the process that tells it what to do. That one never calls CUDA itself."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from scripts.gpu_check.cuda import CudaError

if TYPE_CHECKING:
    from types import TracebackType

_ROOT = Path(__file__).resolve().parents[2]
_START_TIMEOUT_S = 60.0
_TIMEOUT_S = 30.0


class Program:
    """Runs on the device with this UUID until the ``with`` block ends. See :mod:`scripts.gpu_check.worker`.

    Raises:
        CudaError: the program cannot use the device, or CUDA refused an order.
    """

    def __init__(self, uuid: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scripts.gpu_check.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=_ROOT,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": uuid},
        )
        self.pid = self._process.pid
        self._rest = b""
        try:
            found = str(self._answer(_START_TIMEOUT_S))
            if uuid.startswith("GPU-") and found.lower() != uuid.lower():
                raise CudaError(f"asked for {uuid}, CUDA computes on {found}")
        except CudaError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends it; the driver then gives its memory back, a little later."""
        if self._process.stdin and self._process.stdout:
            self._process.stdin.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
            self._process.stdout.close()

    def hold(self, name: str, size: int) -> int:
        """Takes memory; the time from which on it is there."""
        return int(self._ask("hold", name=name, size=size))

    def free(self, name: str) -> int:
        return int(self._ask("free", name=name))

    def spikes(self, size: int, *, seconds: float, times: int, pause: float = 0.05) -> list[tuple[int, int]]:
        """Takes memory for so long, so many times; from when to when it was surely there."""
        spans = self._ask("spikes", (seconds + pause) * times, size=size, seconds=seconds, pause=pause, times=times)
        return [(start, end) for start, end in spans]

    def begin_busy(self, seconds: float) -> None:
        """Copies on the device from now on; :meth:`end_busy` waits for its end."""
        self._send("busy", seconds=seconds)

    def end_busy(self, seconds: float = 0.0) -> tuple[int, int]:
        start, end = self._answer(_TIMEOUT_S + seconds)
        return start, end

    def latencies(self, seconds: float) -> dict[str, list[float]]:
        """Nanoseconds of each allocation and of each small kernel."""
        return dict(self._ask("latencies", seconds, seconds=seconds))

    def _ask(self, do: str, longer_s: float = 0.0, **details: Any) -> Any:
        self._send(do, **details)
        return self._answer(_TIMEOUT_S + longer_s)

    def _send(self, do: str, **details: Any) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # why it has ended is seen where its answer is awaited
            self._process.stdin.write(json.dumps({"do": do, **details}).encode() + b"\n")

    def _answer(self, timeout_s: float) -> Any:
        assert self._process.stdout is not None
        source = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            if not select.select([source], [], [], timeout_s)[0]:
                raise CudaError(f"the program on the GPU did not answer within {timeout_s:.0f} s")
            read = os.read(source, 1 << 20)
            if not read:
                raise CudaError(f"the program on the GPU ended with status {self._process.wait(10)}")
            self._rest += read
        line, self._rest = self._rest.split(b"\n", 1)
        answer = json.loads(line)
        if "error" in answer:
            raise CudaError(answer["error"])
        return answer["answer"]
