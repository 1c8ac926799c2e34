"""What goes wrong with a store."""

from __future__ import annotations


class StoreError(Exception):
    """A store cannot be read or written as asked; the message is one line that says why."""
