"""Text files are read and written with their encoding given; ruff's PLW1514 finds only what it knows to be a path."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("pytest_llmperf", "tests", "benchmarks", "scripts", "examples")
# The number of arguments that a call without an encoding has.
ARGUMENTS = {"read_text": 0, "write_text": 1}


def calls_without_encoding(code: str) -> list[tuple[int, str]]:
    """Line and text of each ``read_text`` and ``write_text`` that leaves the encoding to the locale."""
    return [
        (node.lineno, ast.unparse(node))
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and len(node.args) == ARGUMENTS.get(node.func.attr)
        and all(keyword.arg != "encoding" for keyword in node.keywords)
    ]


def test_every_text_file_has_an_encoding() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, text in calls_without_encoding(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(["without an encoding:", *found])


@pytest.mark.parametrize("code", ["path.read_text()", "(folder / 'x').write_text('y')", "found.read_text(errors='x')"])
def test_a_call_without_an_encoding_is_found_with_its_line(code: str) -> None:
    assert calls_without_encoding(f"\n{code}\n") == [(2, ast.unparse(ast.parse(code)))]


@pytest.mark.parametrize(
    "code", ["path.read_text('utf-8')", "path.write_text('y', encoding='utf-8')", "path.read_bytes()"]
)
def test_a_call_with_an_encoding_is_left_alone(code: str) -> None:
    assert calls_without_encoding(code) == []
