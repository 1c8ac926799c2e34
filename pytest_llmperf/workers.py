"""All that concerns pytest-xdist: who is who."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def is_worker(config: pytest.Config) -> bool:
    """Whether this process runs tests for a controller, which writes the reports."""
    return hasattr(config, "workerinput")


def is_controller_of_workers(config: pytest.Config) -> bool:
    """Whether the tests run elsewhere, in worker processes."""
    return not is_worker(config) and bool(
        getattr(config.option, "dist", "no") != "no" and getattr(config.option, "tx", None)
    )
