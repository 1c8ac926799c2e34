"""pytester must be enabled in the root conftest; everything else of the tests is in tests/conftest.py."""

from __future__ import annotations

pytest_plugins = ["pytester"]
