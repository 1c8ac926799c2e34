"""The buffers that llama.cpp logs while it loads a model."""

from __future__ import annotations

import re
from collections import defaultdict

MEBIBYTES = r"(\d{1,12}(?:\.\d{1,12})?) MiB"
"""A size as llama.cpp logs it; with more digits, or two points, it is none."""
_LINE = re.compile(rf":\s+(\S+)\s+(?:model|output|KV|RS|compute) buffer size =\s+{MEBIBYTES}")


def parse_buffers(log: str) -> dict[str, float]:
    """The bytes of all buffers in a log, by the name of their kind (``CPU``, ``CUDA0``)."""
    found: defaultdict[str, float] = defaultdict(float)
    for name, mebibytes in _LINE.findall(log):
        found[name] += float(mebibytes) * 2**20
    return dict(found)


def is_on_host(name: str) -> bool:
    """Whether buffers of this kind are the host's memory, as ``CPU_REPACK``, ``CUDA_Host`` and ``AMX`` are."""
    return name.startswith("CPU") or name.endswith("_Host") or name in ("AMX", "BLAS")
