"""What is wrong with data that is no report."""

from __future__ import annotations

WRONG_SHAPE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What reading a report raises where a part of it has not the shape, or not the size, that it should have."""
_MOST = 200


def describe_wrong_shape(error: Exception) -> str:
    """Describes one of ``WRONG_SHAPE`` in one line of at most 300 characters."""
    return f"it has not the shape of a report ({type(error).__name__}: {shorten(error)})"


def shorten(value: object) -> str:
    """Returns the text of a value in one line of at most 200 characters."""
    return " ".join(str(value).split())[:_MOST]
