from __future__ import annotations

import gzip
import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.traffic.workloads.files.entries import read_entries

if TYPE_CHECKING:
    from pathlib import Path

ENTRIES = [{"prompt": f"{number} " + "a" * 60_000} for number in range(400)]
WRITTEN = {
    "lines": "\n".join(map(json.dumps, ENTRIES)),
    "list": json.dumps(ENTRIES),
    "rows": "prompt\n" + "\n".join(entry["prompt"] for entry in ENTRIES),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", WRITTEN)
def test_a_large_file_is_never_in_memory_as_a_whole(form: str, packed: bool, tmp_path: Path) -> None:
    data = WRITTEN[form].encode()
    path = tmp_path / "large"
    path.write_bytes(gzip.compress(data, 1) if packed else data)
    tracemalloc.start()
    try:
        read = [len(content["prompt"]) for _, content, _ in read_entries(path)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read == [len(entry["prompt"]) for entry in ENTRIES]
    assert peak < len(data) / 3


def test_the_place_of_an_entry_is_its_line(tmp_path: Path) -> None:
    for text in ('{"id": 1}\n\n{"id": 2}', '[\n{"id":\n1},\n{"id": 2}]', 'prompt\n"a\nb"\nc'):
        path = tmp_path / "f"
        path.write_text(text, encoding="utf-8")
        lines = {"{": [1, 3], "[": [2, 4], "p": [3, 4]}[text[0]]
        assert [line for line, _, _ in read_entries(path)] == lines
