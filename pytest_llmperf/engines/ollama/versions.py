"""The differences between versions of Ollama."""

from __future__ import annotations

import re

from pytest_llmperf.engines.api.spec import EngineError

# The oldest one that is known to heed "truncate": false and to state what is read here.
OLDEST = (0, 24, 0)
# From here on the runner is llama.cpp's server, which has metrics, and the times are llama.cpp's.
_LLAMA_SERVER = (0, 30, 0)
# What a build from source calls itself.
_UNVERSIONED = (0, 0, 0)


def parse_version(version: str) -> tuple[int, ...]:
    """``0.30.0-rc1`` → (0, 30, 0); of a build from source, or in another form, what comes after all others.

    >>> parse_version("0.30.0-rc1")
    (0, 30, 0)
    """
    found = re.match(r"v?(\d{1,9})\.(\d{1,9})\.(\d{1,9})", version)
    numbers = tuple(map(int, found.groups())) if found else _UNVERSIONED
    return (1 << 30,) if numbers == _UNVERSIONED else numbers


def check_version(version: str) -> str:
    """The version, once it is known to be new enough.

    Raises:
        EngineError: it is too old.
    """
    if parse_version(version) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise EngineError(f"ollama {version} is too old to be measured: this needs {oldest} or newer")
    return version


def counts_uncached_only(version: str) -> bool:
    """Whether its count of prompt tokens leaves out cached ones: one version does."""
    return parse_version(version) == _LLAMA_SERVER


def times_decoding(version: str) -> bool:
    """Whether the decoding time that it states includes sampling: earlier versions leave it out."""
    return parse_version(version) >= _LLAMA_SERVER
