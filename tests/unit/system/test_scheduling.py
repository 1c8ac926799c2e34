from __future__ import annotations

import os
import platform
import sys
import threading
from ctypes import CDLL, c_long, create_string_buffer

import pytest

from pytest_llmperf.system.scheduling import ATTRIBUTES, SHORTEST_SLICE_NS, ask_for_short_slices
from tests.helpers.waiting import PATIENCE_S

SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's scheduler")


def in_a_thread() -> tuple[bool, int, int]:
    """Whether the wish was taken; the slice in ns (0 where Linux keeps none) and the niceness of the thread then."""
    found: list[tuple[bool, int, int]] = []

    def ask() -> None:
        taken = ask_for_short_slices()
        out = create_string_buffer(ATTRIBUTES.size)
        number = c_long(SCHED_GETATTR[platform.machine()])
        assert CDLL(None).syscall(number, c_long(0), out, c_long(ATTRIBUTES.size), c_long(0)) == 0
        _, _, _, nice, _, slice_ns, _, _ = ATTRIBUTES.unpack(out)
        found.append((taken, slice_ns, nice))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(PATIENCE_S)
    return found[0]


@pytest.mark.skipif(platform.machine() not in SCHED_GETATTR, reason="not known for this machine")
def test_a_thread_gets_the_slice_it_asks_for_and_keeps_its_niceness() -> None:
    taken, slice_ns, nice = in_a_thread()
    assert taken
    assert slice_ns in (SHORTEST_SLICE_NS, 0)
    assert nice == os.getpriority(os.PRIO_PROCESS, 0)


def test_on_a_machine_without_a_known_system_call_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "pdp11")
    assert not ask_for_short_slices()
