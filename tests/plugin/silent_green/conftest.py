"""What the tests of silent greens share: a server whose answers each of them chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.hostile_server import HostileServer, good_stream, good_whole

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def hostile() -> Iterator[HostileServer]:
    """A server of which everything is good until a test replaces ``hostile.answer``."""
    server = HostileServer(lambda asked: good_stream() if asked.body.get("stream") else good_whole())
    with server.running():
        yield server
