"""Neighbours are tried in one process and beside pytest-xdist."""

from __future__ import annotations

import pytest

NEWEST = pytest.version_tuple >= (9,)


@pytest.fixture(
    params=[
        pytest.param((), id="one process"),
        pytest.param(
            ("-n2",),
            id="two workers",
            marks=pytest.mark.skipif(not NEWEST, reason="two workers take their time: on the newest pytest only"),
        ),
    ]
)
def workers(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Options: a test that uses it runs without workers, and with two of them."""
    options: tuple[str, ...] = request.param
    if options:
        pytest.importorskip("xdist")
    return options
