"""SIGTERM: the run ends as by Ctrl-C, and its reports are written before anything is torn down."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

EXIT_STATUS = 128 + signal.SIGTERM
SENTENCE = "the run was ended by SIGTERM: its reports hold the tests that had ended by then"


class Terminated(KeyboardInterrupt):
    """pytest was asked to end by SIGTERM."""


Terminated.__module__ = "builtins"  # so that pytest names it without a path


class Termination:
    """Registered in the process that writes the reports. Leaves SIGTERM to a handler that is there already.

    The first signal ends the run: ``begin`` is called at once, ``write`` after it, and pytest tears down as after
    Ctrl-C, with the exit status 143. One that comes while pytest is ending calls ``write`` and ends it at once, since
    its sender has lost patience.
    """

    def __init__(self, begin: Callable[[], None], write: Callable[[], None]) -> None:
        self._begin, self._write = begin, write
        self._pid = os.getpid()
        self._is_installed = self._is_ending = self._is_terminated = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Takes the signal over, unless somebody else has."""
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_signal)
            self._is_installed = True

    def _on_signal(self, *_: object) -> None:
        if os.getpid() != self._pid:  # a process that a test has forked ends as it would without us
            self._end_now()
        if self._is_ending:
            self._write()
            self._end_now()
        self._is_ending = self._is_terminated = True
        raise Terminated("by SIGTERM")

    @staticmethod
    def _end_now() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    def pytest_keyboard_interrupt(self) -> None:
        """Writes the reports of a run that is terminated, before its fixtures and workers are torn down."""
        self._is_ending = True
        if self._is_terminated:
            self._begin()
            self._write()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Gives a run that was terminated the exit status that shells give it."""
        self._is_ending = True
        try:
            return (yield)
        finally:
            if self._is_terminated:
                session.exitstatus = EXIT_STATUS

    @pytest.hookimpl(tryfirst=True)
    def pytest_unconfigure(self) -> None:
        """Gives the signal back."""
        if self._is_installed:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._is_installed = False
