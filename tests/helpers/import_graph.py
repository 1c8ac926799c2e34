"""The import graph of the package, read from its source: lazy imports and those for type checkers count."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest_llmperf

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = "pytest_llmperf"
PACKAGE = Path(pytest_llmperf.__file__).parent


class Import(NamedTuple):
    """One name that a module imports: ``target`` is a module of the package, or the top-level name of another one."""

    module: str
    line: int
    target: str


def read_sources() -> dict[str, str]:
    """The source of every module of the package by its dotted name; a folder's ``__init__`` has the folder's name."""
    return {_join_dots(path): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


def folders_of(modules: Mapping[str, object]) -> set[str]:
    """The folders of the package, dotted: those that modules lie in."""
    return {folder_of(module) for module in modules}


def folder_of(module: str) -> str:
    """The folder a module lies in, dotted and without the package's name; empty for the top."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    parts = module.split(".")[1:] if path.is_dir() else module.split(".")[1:-1]
    return ".".join(parts)


def read_imports(sources: Mapping[str, str]) -> Iterator[Import]:
    """Every import of every module, wherever in the file it stands."""
    for module, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(module, node.lineno, _target(alias.name, sources))
            elif isinstance(node, ast.ImportFrom):
                base = _absolute(module, node)
                for alias in node.names:
                    yield Import(module, node.lineno, _target(f"{base}.{alias.name}", sources))
            elif isinstance(node, ast.Call) and (name := _imported_by_call(node)):
                yield Import(module, node.lineno, _target(name, sources))


def _imported_by_call(node: ast.Call) -> str:
    """What ``import_module`` is asked for, as far as it can be read; empty for every other call."""
    if not node.args:
        return ""
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    name = node.args[0]
    if isinstance(name, ast.JoinedStr) and name.values:
        name = name.values[0]
    if called == "import_module" and isinstance(name, ast.Constant) and isinstance(name.value, str):
        return name.value
    return ""


def find_circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that reach one another (strongly connected components of two nodes or more), each sorted."""
    reach = {node: _reachable(node, arrows) for node in arrows}
    groups = {tuple(sorted(other for other in reach[node] if node in reach.get(other, ()))) for node in arrows}
    return [list(group) for group in sorted(groups) if len(group) > 1]


def _reachable(start: str, arrows: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for target in arrows.get(waiting.pop(), ()):
            if target not in seen:
                seen.add(target)
                waiting.append(target)
    return seen


def _join_dots(path: Path) -> str:
    parts = (ROOT, *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _absolute(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    folder = (ROOT, *filter(None, folder_of(module).split(".")))
    return ".".join((*folder[: len(folder) - node.level + 1], *filter(None, [node.module])))


def _target(name: str, modules: Mapping[str, str]) -> str:
    """The module of the package that holds ``name``; for other packages the first part of it."""
    if name != ROOT and not name.startswith(f"{ROOT}."):
        return name.partition(".")[0]
    while name not in modules and "." in name:
        name = name.rpartition(".")[0]
    return name
