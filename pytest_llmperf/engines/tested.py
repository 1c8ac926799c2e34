"""Which versions of the engines this release was tested with: ``tested_versions.json``, written by ``scripts/lock``."""

from __future__ import annotations

import json
import re
from pathlib import Path

_FILE = Path(__file__).with_name("tested_versions.json")


def newest_tested() -> dict[str, str]:
    """The newest tested version of each engine by the engine's name; engines without versions are left out."""
    versions: dict[str, str] = json.loads(_FILE.read_text(encoding="utf-8"))
    return versions


def why_untested(engine: str, version: str) -> str:
    """Returns why a version may not be measured as it should, in one line.

    Returns "" if it is not newer than the newest tested one, and if that cannot be told from its text.

    >>> why_untested("vllm", "0.31.0")
    ''
    """
    newest = newest_tested().get(engine, "")
    found, tested = _numbers(version), _numbers(newest)
    if len(found) == 1:
        tested = tested[-1:]  # llama.cpp's own build, b11549, is the last part of its wheel's version
    if not found or not tested or found <= tested:
        return ""
    return f"{engine}: version {version} is newer than {newest}, the newest that pytest-llmperf was tested with"


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers of ``0.32.0+cpu``, ``v0.30.0-rc1`` or ``b11549-1a2b3c4``, () of a text in another form."""
    found = re.match(r"v?(\d+(?:\.\d+)+)|b(\d+)-", version)
    if found is None:
        return ()
    return tuple(map(int, (found[1] or found[2]).split(".")))
