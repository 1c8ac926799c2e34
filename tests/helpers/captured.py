"""What real servers have said, word for word: the files in ``captures``."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).with_name("captures")


def captured(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
