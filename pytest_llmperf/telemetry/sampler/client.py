"""Controls the sampler process from pytest, and cuts traces of host memory out of its ring."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import BYTES, format_value
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.telemetry.analysis.timeline import Sampling, build_host_trace, largest_gap_ns, sum_levels
from pytest_llmperf.telemetry.records.ring import GONE, Ring, RingRecord
from pytest_llmperf.telemetry.sampler.process import (
    ABSTRACT_SOCKETS,
    START_TIMEOUT_S,
    SamplerError,
    SamplerProcess,
    join,
    launch,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_llmperf.measurement.memory_trace import MemoryTrace

DEFAULT_HZ = 200.0
WATCH_TIMEOUT_S = 5.0
STALL_NS = 1_000_000_000
CALM_NS = 300_000_000
__all__ = ["CALM_NS", "DEFAULT_HZ", "STALL_NS", "Sampler", "SamplerError"]


class Sampler:
    """Samples the memory of branches of processes in a process of its own, from :meth:`start` to :meth:`stop`.

    Times are in ns of ``time.monotonic_ns()``, levels in bytes. A sampler that died or stalled shows as the ``fault``
    of a trace; only :meth:`start` and :meth:`watch` raise :class:`SamplerError` for it.
    """

    def __init__(self) -> None:
        self._child: SamplerProcess | None = None
        self._address = ""

    @property
    def alive(self) -> bool:
        """Whether the process runs (it may still be stalled)."""
        return self._child is not None and not self._child.ended

    @property
    def pid(self) -> int | None:
        """The pid of the sampler process; None if it does not run, or another process started it."""
        return self._child.process.pid if self._child and self._child.process else None

    @property
    def address(self) -> str:
        """The address under which other processes of this host may :meth:`join`; "" if they cannot."""
        return self._address

    @property
    def memory(self) -> Ring:
        """The ring of the memory lane."""
        return self._require_child().ring

    @property
    def driver(self) -> Ring:
        """The ring of the driver's slow readings."""
        return self._require_child().driver

    @property
    def exporters(self) -> Ring:
        """The ring of the DCGM exporters and of the pages."""
        return self._require_child().exporters

    @property
    def started_ns(self) -> int:
        """When this sampler was started or joined, in ns: it identifies a sampler process."""
        return self._require_child().started_ns

    def why_ended(self) -> str:
        """Why the sampler ended, in one line; "" while it runs."""
        return self._require_child().why_ended()

    def start(self, hz: float = DEFAULT_HZ, *, shared: bool = False) -> None:
        """Starts the process unless it runs. One that died is replaced; the new one watches nothing yet.

        With ``shared`` other processes of this user may join it under its ``address``.

        Raises:
            SamplerError: it cannot be started, or a rate outside 0.1 to 2000 Hz.
        """
        if self.alive:
            return
        if not 0.1 <= hz <= 2000:
            raise SamplerError(f"the sampler cannot run at {hz:g} Hz: give 0.1 to 2000")
        self.stop()
        self._address = f"pytest-llmperf-{os.getpid()}-{secrets.token_hex(8)}" if shared and ABSTRACT_SOCKETS else ""
        child = self._child = launch(hz, self._address)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not child.ring.published_ns:
            reason = child.why_ended()
            if not reason and time.monotonic() > deadline:
                reason = f"the sampler gave no sign of life in {START_TIMEOUT_S:g} s"
            if reason:
                self.stop()
                raise SamplerError(reason)
            time.sleep(0.002)

    def join(self, address: str) -> bool:
        """Joins the sampler that another process of this host has started; returns False if there is none."""
        self.stop()
        self._child = join(address)
        self._address = address if self._child else ""
        return self._child is not None

    def stop(self) -> None:
        """Ends the process, or disconnects from a joined one. Traces that were read stay valid. May be called twice."""
        child, self._child = self._child, None
        if child is not None:
            child.stop()

    def watch(self, pid: int, file: str | None = None) -> int:
        """Samples a :class:`Branch` from now on: the whole tree under ``pid`` unless ``file`` says less.

        Returns the key of its records, for a whole tree the pid, when its first level is known.

        Raises:
            SamplerError: there is no such process, or the sampler gave no level of it within 5 s.
        """
        child = self._require_child()
        seen = child.ring.head
        key: int = self.ask("watch", pid=pid, file=file)["key"]
        deadline = time.monotonic() + WATCH_TIMEOUT_S
        while True:
            head = child.ring.head
            for record in child.ring.slice(seen, head):
                if record.key == key:
                    if record.flags & GONE:
                        raise SamplerError(f"there is no process {pid} to watch")
                    return key
            seen = head
            if reason := child.why_ended():
                raise SamplerError(reason)
            if time.monotonic() > deadline:
                raise SamplerError(f"the sampler gave no level of process {pid} in {WATCH_TIMEOUT_S:g} s")
            time.sleep(0.001)

    def stop_watching(self, key: int) -> None:
        """Stops sampling the branch of this key; does nothing if it is not watched or the sampler has died."""
        self._require_child()
        with contextlib.suppress(SamplerError):
            self.ask("stop_watching", key=key)

    def list_contacts(self, key: int) -> tuple[str, ...]:
        """Whom the processes of this branch were connected to as clients since the first call of this: ``host:port``.

        Returns () if the sampler has died.
        """
        with contextlib.suppress(SamplerError):
            return tuple(self.ask("contacts", key=key)["contacts"])
        return ()

    def read_thread_times(self, keys: Sequence[int]) -> list[tuple[int, int] | None]:
        """What the threads of each of these branches have run and waited for a core since they were first watched.

        In ns; None where the system does not tell, the branch is not watched, or the sampler has died.
        """
        with contextlib.suppress(SamplerError):
            times = self.ask("thread_times", keys=list(keys))["times"]
            return [None if one is None else (int(one[0]), int(one[1])) for one in times]
        return [None for _ in keys]

    def survey(self) -> None:
        """Lists the processes of all watched branches anew; a failure shows in the traces."""
        with contextlib.suppress(SamplerError):
            self.ask("survey")
            now_ns = time.monotonic_ns()
            self.wait(Window(now_ns, now_ns))

    def read(self, window: Window, keys: Sequence[int], ended: Collection[int] = ()) -> MemoryTrace:
        """The memory of the branches with these keys, added up, over a window that has ended.

        Those in ``ended`` were ended on purpose: they hold nothing from then on.
        """
        self.wait(window)
        return self._cut(self._require_child(), window, keys, ended)

    def wait(self, window: Window) -> None:
        """Waits for a sample after the window: two periods and 0.3 s at most, 1.3 s during a call of the driver."""
        child = self._require_child()
        begun = time.monotonic_ns()
        while child.ring.published_ns < window.end_ns and self.alive:
            time.sleep(0.002)
            patience = STALL_NS + CALM_NS if child.ring.call[0] else 2 * child.ring.period_ns + CALM_NS
            if time.monotonic_ns() - begun > patience:
                return

    def level(self, keys: Sequence[int]) -> int | None:
        """The latest level of these branches in bytes; None if the sampler or one of them has ended."""
        child = self._require_child()
        now = time.monotonic_ns()
        records = self._records(child, now, now)
        last = {record.key: record for record in records}
        known = all(key in last and not last[key].flags & GONE for key in keys)
        samples = sum_levels(records, keys)
        return samples[-1][1] if known and samples and self.alive else None

    def settle(
        self, keys: Sequence[int], timeout_s: float = 5.0, tolerance_bytes: int = 2**20
    ) -> tuple[int | None, str]:
        """Waits until the level has stayed within ``tolerance_bytes`` for 0.3 s, counted from this call.

        Returns the level in bytes and "", or None and the reason.
        """
        child = self._require_child()
        begun = time.monotonic_ns()
        while True:
            time.sleep(0.02)
            now = time.monotonic_ns()
            if now - begun < CALM_NS and self.alive:
                continue
            trace = self._cut(child, Window(now - CALM_NS, now), keys)
            values = [value for _, value in trace.samples]
            moved = max(values) - min(values) if values else 0
            broken = trace.fault or trace.missing
            if not broken and values and moved <= tolerance_bytes:
                return values[-1], ""
            if (now - begun) / 1e9 >= timeout_s or not values or not self.alive or trace.missing:
                moving = f"the memory still moved by {format_value(moved, BYTES)} in 0.3 s"
                return None, broken or f"{moving}, {timeout_s:g} s after the test"

    def _require_child(self) -> SamplerProcess:
        if self._child is None:
            raise SamplerError("the sampler was not started")
        return self._child

    def ask(self, what: str, timeout_s: float = WATCH_TIMEOUT_S, **details: Any) -> dict[str, Any]:
        """Sends the sampler process an order and returns its answer.

        Raises:
            SamplerError: it has ended, it does not answer in time, or the order failed.
        """
        child = self._require_child()
        try:
            answer = child.ask({"do": what, **details}, timeout_s)
        except TimeoutError:
            raise SamplerError(self.why_hanging() or f"the sampler did not answer within {timeout_s:g} s") from None
        if "error" in answer:
            raise SamplerError(answer["error"])
        return answer

    def why_hanging(self) -> str:
        """Which call of the driver has not returned for 1 s, in a sentence, or ""."""
        child = self._require_child()
        for ring in (child.ring, child.driver):
            call, since_ns = ring.call
            waited = time.monotonic_ns() - since_ns
            if call and waited > STALL_NS and not child.ended:
                return f"the driver hangs: {call} has not returned for {waited / 1e9:.1f} s"
        return ""

    def _records(self, child: SamplerProcess, start_ns: int, end_ns: int) -> list[RingRecord]:
        reach = largest_gap_ns(child.ring.period_ns)
        return child.ring.read(start_ns - reach, end_ns + reach)

    def _cut(
        self, child: SamplerProcess, window: Window, keys: Sequence[int], ended: Collection[int] = ()
    ) -> MemoryTrace:
        published_ns, fault = child.ring.published_ns, ""
        silent = time.monotonic_ns() - published_ns
        hang = self.why_hanging() if published_ns < window.end_ns else ""
        if published_ns < window.end_ns and not hang:
            fault = child.why_ended()
            if not fault and silent > max(STALL_NS, largest_gap_ns(child.ring.period_ns)):
                fault = f"the sampler stalled for {silent / 1e9:.1f} s"
        return build_host_trace(
            self._records(child, window.start_ns, window.end_ns),
            window,
            keys,
            Sampling(child.ring.period_ns, child.ring.oldest_ns, fault, hang),
            ended,
        )
