"""Links lead to pages, files and headings that exist; files that pages and docstrings name are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pytest_llmperf"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]+)\)")
# Folders of this repository, followed by a path; and modules of the package, relative to it.
TOP = r"(?:pytest_llmperf|tests|scripts|examples|benchmarks|docs|requirements)/"
ROOMS = "|".join(sorted(folder.name for folder in PACKAGE.iterdir() if folder.is_dir() and folder.name[0] != "_"))
PATH = re.compile(rf"(?<![\w./<-])((?:{TOP}|(?:{ROOMS})/)(?:[\w.*-]+/)*[\w.*-]*)")
FILE = re.compile(r"`(?:[\w-]+/)*[\w-]+\.(?:py|sh|json|toml)`")
MADE_BY_USERS = {
    "bigger-is-better.json",
    "conftest.py",
    "llmperf.json",
    "llmperf.toml",
    "out.json",
    "pyproject.toml",
    "smaller-is-better.json",
}


def _headings(page: Path) -> set[str]:
    """The anchors of a page, made of its headings as GitHub does."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _find_broken(page: Path) -> Iterator[str]:
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in _headings(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    assert list(_find_broken(page)) == []


def test_a_broken_link_and_a_broken_anchor_are_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title\n[good](#a-title) [bad](#another) [gone](gone.md)\n", encoding="utf-8")
    assert list(_find_broken(page)) == ["#another", "gone.md"]


def _exists(path: str) -> bool:
    bases = (ROOT, PACKAGE)
    return any(list(base.glob(path.rstrip("./*"))) or list(base.glob(path.rstrip("./"))) for base in bases)


def _find_missing(text: str) -> list[str]:
    named = [path for path in PATH.findall(text) if "." in path or path.startswith(("tests/", "examples/"))]
    return [path for path in named if not _exists(path)]


def _docstrings() -> Iterator[tuple[str, str]]:
    """Where a docstring stands, and the docstring."""
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{file.relative_to(ROOT)}", ast.get_docstring(node) or ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_file_that_a_page_names_exists(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    assert _find_missing(text) == []
    names = {name.strip("`") for name in FILE.findall(text)} - MADE_BY_USERS
    assert [name for name in sorted(names) if not _exists(name) and not _exists(f"**/{name}")] == []


def test_each_file_that_a_docstring_names_exists() -> None:
    assert [(where, path) for where, text in _docstrings() for path in _find_missing(text)] == []


def test_a_path_to_nowhere_is_noticed() -> None:
    assert _find_missing("see engines/process.py, engines/registry.py and tests/unit/gone/") == [
        "engines/process.py",
        "tests/unit/gone/",
    ]
