"""How much memory the host has."""

from __future__ import annotations

import os


def find_memory_size() -> int | None:
    """Bytes of the host's memory; None if the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
