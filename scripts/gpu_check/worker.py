"""A program on the GPU that does what it is told: ``python -m scripts.gpu_check.worker``, orders and answers in JSON.

Every line of its input is an order, ``{"do": "hold", "name": "a", "size": 1048576}``; every line of its output an
answer, ``{"error": "..."}`` where it failed. It ends with its input. Times are ``time.monotonic_ns()``.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from scripts.gpu_check.cuda import Cuda, CudaError

_MIB = 2**20
_COPIED = 256 * _MIB
_COPIES_IN_A_ROW = 16
_SMALL = 2 * _MIB


class Worker:
    """The orders, by name. Allocations are known by the names that they were given."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._held: dict[str, int] = {}
        self._load_kernels()

    def _load_kernels(self) -> None:
        """Now rather than at their first use, which would take memory that belongs to no allocation."""
        source, target = self._cuda.allocate(_SMALL), self._cuda.allocate(_SMALL)
        self._cuda.fill(source, _SMALL)
        self._cuda.copy(target, source, _SMALL)
        self._cuda.synchronize()
        self._cuda.free(source)
        self._cuda.free(target)

    def uuid(self) -> str:
        return self._cuda.uuid()

    def hold(self, name: str, size: int) -> int:
        """Takes memory and keeps it; from when on it is there."""
        self._held[name] = address = self._cuda.allocate(size)
        self._cuda.fill(address, size)
        self._cuda.synchronize()
        return time.monotonic_ns()

    def free(self, name: str) -> int:
        self._cuda.free(self._held.pop(name))
        return time.monotonic_ns()

    def spikes(self, size: int, seconds: float, pause: float, times: int) -> list[tuple[int, int]]:
        """Takes memory for so long, so many times; from when to when it was surely there."""
        spans = []
        for _ in range(times):
            time.sleep(pause)
            address = self._cuda.allocate(size)
            start = time.monotonic_ns()
            time.sleep(seconds)
            end = time.monotonic_ns()
            self._cuda.free(address)
            spans.append((start, end))
        return spans

    def busy(self, seconds: float) -> tuple[int, int]:
        """Copies memory on the device without a pause; from when to when."""
        source, target = self._cuda.allocate(_COPIED), self._cuda.allocate(_COPIED)
        try:
            start = time.monotonic_ns()
            while time.monotonic_ns() - start < seconds * 1e9:
                for _ in range(_COPIES_IN_A_ROW):
                    self._cuda.copy(target, source, _COPIED)
                self._cuda.synchronize()
            return start, time.monotonic_ns()
        finally:
            self._cuda.free(source)
            self._cuda.free(target)

    def latencies(self, seconds: float) -> dict[str, list[int]]:
        """Nanoseconds of each allocation that is given back at once, and of each small kernel that is waited for."""
        found: dict[str, list[int]] = {"allocation": [], "kernel": []}
        address = self._cuda.allocate(_SMALL)
        try:
            end = time.monotonic_ns() + seconds * 1e9
            while (begun := time.monotonic_ns()) < end:
                self._cuda.free(self._cuda.allocate(_SMALL))
                between = time.monotonic_ns()
                self._cuda.fill(address, _MIB)
                self._cuda.synchronize()
                found["allocation"].append(between - begun)
                found["kernel"].append(time.monotonic_ns() - between)
            return found
        finally:
            self._cuda.free(address)


def main() -> None:
    try:
        worker = Worker(Cuda())
    except CudaError as error:
        _answer({"error": str(error)})
        return
    _answer({"answer": worker.uuid()})
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        try:
            _answer({"answer": getattr(worker, order.pop("do"))(**order)})
        except CudaError as error:
            _answer({"error": str(error)})


def _answer(content: dict[str, Any]) -> None:
    print(json.dumps(content), flush=True)


if __name__ == "__main__":
    main()
