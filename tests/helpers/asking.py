"""Questions to pynvml, with the answers as plain values."""

from __future__ import annotations

from typing import Any

import pynvml
import pytest


def refusal(call: Any, *arguments: Any, **named: Any) -> int:
    """The error code that the call ends with."""
    with pytest.raises(pynvml.NVMLError) as caught:
        call(*arguments, **named)
    return int(caught.value.value)


def memory(handle: Any) -> tuple[int, int, int, int]:
    read = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    return read.total, read.reserved, read.free, read.used


def fields(handle: Any, *wanted: int) -> list[int | str]:
    """The value of each field, or the error in its place."""
    values = pynvml.nvmlDeviceGetFieldValues(handle, list(wanted))
    return [f"error {value.nvmlReturn}" if value.nvmlReturn else value.value.ullVal for value in values]
