"""What is said to the person who waits while a test or a start goes on, whatever pytest captures."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from pytest_llmperf.plugin import worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


class Terminal:
    """Of one pytest process; a worker's words reach the controller's. Without a terminal nobody hears."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._showing = False

    def say(self, text: str) -> None:
        """One line."""
        if worker.is_worker(self._config):
            worker.say(self._config, text)
            return
        with self._reporter() as reporter:
            if reporter is not None:
                reporter.ensure_newline()
                if self._config.get_terminal_writer().width_of_current_line:
                    reporter.line("")  # the dots of workers stand on a line of no file
                reporter.write_line(f"llmperf: {text}")

    def show(self, text: str) -> None:
        """A line that the next one replaces, where lines can be replaced; an empty one takes it away."""
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
