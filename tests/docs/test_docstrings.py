"""Public names are documented, and a class is the only one of its name."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pytest_llmperf
from scripts.docs_tables import read_fixtures

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(pytest_llmperf.__file__).parent
DOCUMENTED = 0.9
_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _public(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, _Definition]]:
    """Public classes, functions and methods, by dotted name. An overload is documented by what it overloads."""
    for node in body:
        if isinstance(node, _Definition) and not node.name.startswith("_"):
            decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
            if "overload" in decorators or any(name.endswith(".setter") for name in decorators):
                continue
            yield f"{prefix}.{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body, f"{prefix}.{node.name}")


def _names(file: Path) -> Iterator[tuple[str, ast.AsyncFunctionDef | ast.FunctionDef | ast.ClassDef | ast.Module]]:
    module = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    tree = ast.parse(file.read_text(encoding="utf-8"))
    yield module, tree
    yield from _public(tree.body, module)


NAMES = dict(name for file in sorted(PACKAGE.rglob("*.py")) for name in _names(file))
CLASSES = {name.rpartition(".")[2]: name for name, node in NAMES.items() if isinstance(node, ast.ClassDef)}


def _is_documented(name: str) -> bool:
    """Whether it, or the method of a base class that it overrides, has a docstring (as :func:`inspect.getdoc` does)."""
    if ast.get_docstring(NAMES[name]):
        return True
    owner, _, method = name.rpartition(".")
    cls = NAMES.get(owner)
    bases = (
        [CLASSES.get(ast.unparse(base).partition("[")[0], "") for base in cls.bases]
        if isinstance(cls, ast.ClassDef)
        else []
    )
    return any(f"{base}.{method}" in NAMES and _is_documented(f"{base}.{method}") for base in bases)


UNDOCUMENTED = [name for name in NAMES if not _is_documented(name)]


def test_most_public_names_have_a_docstring() -> None:
    share = 1 - len(UNDOCUMENTED) / len(NAMES)
    assert share >= DOCUMENTED, f"{share:.1%} of {len(NAMES)}; without: {', '.join(UNDOCUMENTED)}"


def test_every_module_has_a_docstring() -> None:
    assert [name for name in UNDOCUMENTED if isinstance(NAMES[name], ast.Module)] == []


def _list_exported() -> Iterator[str]:
    for name in pytest_llmperf.__all__:
        value = getattr(pytest_llmperf, name)
        if isinstance(value, type) or callable(value):
            yield name


@pytest.mark.parametrize("name", list(_list_exported()))
def test_each_exported_name_and_each_of_its_public_methods_has_a_docstring(name: str) -> None:
    value = getattr(pytest_llmperf, name)
    homes = [known for known in NAMES if known.rpartition(".")[2] == getattr(value, "__name__", name)]
    assert homes, f"{name} is defined nowhere"
    assert [gap for gap in UNDOCUMENTED if gap in homes or gap.rpartition(".")[0] in homes] == []


def test_each_fixture_has_a_docstring() -> None:
    assert [name for name, _, text in read_fixtures() if not text] == []


def test_no_two_public_classes_have_one_name() -> None:
    classes = Counter(name.rpartition(".")[2] for name, node in NAMES.items() if isinstance(node, ast.ClassDef))
    assert [name for name, times in classes.items() if times > 1] == []
