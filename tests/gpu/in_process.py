"""The fake library inside this process."""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pynvml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def loaded_library(library: Path) -> Iterator[None]:
    """Let ``pynvml`` in this process use the library, whichever it used before; the environment names the scenario."""
    pointers = pynvml._nvmlGetFunctionPointer_cache
    saved = pynvml.nvmlLib, pynvml._nvmlLib_refcount, dict(pointers)
    pynvml.nvmlLib, pynvml._nvmlLib_refcount = ctypes.CDLL(str(library)), 0
    pointers.clear()
    try:
        yield
    finally:
        while pynvml._nvmlLib_refcount:
            pynvml.nvmlShutdown()
        pointers.clear()
        pynvml.nvmlLib, pynvml._nvmlLib_refcount, kept = saved
        pointers.update(kept)
