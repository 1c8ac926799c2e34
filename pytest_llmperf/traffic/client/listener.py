"""Callbacks that a client makes while it works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.measurement.load import Load
    from pytest_llmperf.measurement.request import RequestTiming


def _ignore(_: object) -> None:
    pass


@dataclass(frozen=True)
class ClientListener:
    """Functions that a client calls; each ignores its argument by default.

    Attributes:
        record: takes the timing of each request exactly once, failed and cancelled ones included, before the call
            returns or raises.
        record_load: takes each load.
        show: takes a line of progress that replaces the one before; an empty one removes it.
        say: takes a line that stays.
    """

    record: Callable[[RequestTiming], None] = _ignore
    record_load: Callable[[Load], None] = _ignore
    show: Callable[[str], None] = _ignore
    say: Callable[[str], None] = _ignore


SILENT = ClientListener()
