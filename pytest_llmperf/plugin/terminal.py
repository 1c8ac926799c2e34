"""Progress lines on the terminal, shown even while pytest captures output."""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from pytest_llmperf.plugin import worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


class Terminal:
    """Writes progress lines of one pytest process. A worker sends them to its controller; without a terminal reporter
    they are dropped.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._showing = False

    @property
    def width(self) -> int | None:
        """In cells; in a worker that of its controller's terminal. None if there is none."""
        if worker.is_worker(self._config):
            return worker.read_width(self._config)
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        return None if reporter is None else self._config.get_terminal_writer().fullwidth

    @property
    def knows_unicode(self) -> bool:
        """Whether it can show blocks, signs and letters of all kinds."""
        from pytest_llmperf.reports.text import knows_unicode

        return knows_unicode(getattr(sys.__stdout__, "encoding", None))

    def say(self, text: str) -> None:
        """Prints ``text`` as a line of its own."""
        text = make_showable(text)
        if worker.is_worker(self._config):
            worker.say(self._config, text)
            return
        with self._reporter() as reporter:
            if reporter is not None:
                reporter.ensure_newline()
                if self._config.get_terminal_writer().width_of_current_line:
                    reporter.line("")  # the dots of workers are on a line that pytest does not know of
                reporter.write_line(f"llmperf: {text}")

    def show(self, text: str) -> None:
        """Shows ``text`` on a line that the next call replaces; an empty text removes it. Only on a real terminal."""
        text = make_showable(text)
        with self._reporter() as reporter:
            if reporter is None or not reporter.isatty:
                return
            if text and not self._showing:
                reporter.ensure_newline()
            if text or self._showing:
                reporter.rewrite(f"llmperf: {text}" if text else "", erase=True)
                reporter.flush()
            self._showing = bool(text)

    @contextmanager
    def _reporter(self) -> Iterator[pytest.TerminalReporter | None]:
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            yield self._config.pluginmanager.get_plugin("terminalreporter")


def make_showable(text: str) -> str:
    """``text`` without keys, and without what a terminal obeys: it may be a server's."""
    from pytest_llmperf.system.known_keys import hide_keys
    from pytest_llmperf.system.printable import make_printable

    return make_printable(hide_keys(text))
