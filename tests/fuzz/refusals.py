"""What a reader makes of something: a value, or why it refuses it in the documented way."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def read_or_refuse(read: Callable[[], T], *documented: type[Exception]) -> tuple[T | None, str]:
    """Returns what is read and "", or None and the message of a documented exception. Any other one is a fault."""
    try:
        return read(), ""
    except documented as error:
        message = str(error)
    assert message
    return None, message
