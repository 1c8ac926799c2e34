"""One browser for all tests on what the HTML report looks like."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.helpers.chromium import NAMES, Chromium, find_chromium, start_chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

# Read before a fixture takes it from the environment: CI must never leave these tests out without a word.
_IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")


@pytest.fixture(scope="session")
def browser() -> Iterator[Chromium]:
    """A Chromium. Without one the tests are skipped, and fail in CI."""
    program = find_chromium()
    if program is None:
        text = f"the HTML report was not opened: no {NAMES[0]} on the PATH or in LLMPERF_TEST_CHROMIUM"
        (pytest.fail if _IN_CI else pytest.skip)(text)
    with start_chromium(program) as chromium:
        yield chromium
