from __future__ import annotations

from scripts.check_dist import wrong_in_sdist, wrong_in_wheel

WHEEL = [
    "pytest_llmperf/plugin/__init__.py",
    "pytest_llmperf/py.typed",
    "pytest_llmperf/engines/tested_versions.json",
    "pytest_llmperf/reports/report.schema.json",
    *(f"pytest_llmperf/reports/page/{name}" for name in ("page.html", "parts.html", "page.css", "page.js")),
    "pytest_llmperf-0.1.0.dist-info/METADATA",
]
PROJECT = ["pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "conftest.py"]
OTHERS = ["requirements/test.txt", "scripts/test", "tests/conftest.py"]
SDIST = [f"pytest_llmperf-0.1.0/{name}" for name in (*WHEEL[:-1], *PROJECT, *OTHERS)]


def test_complete() -> None:
    assert wrong_in_wheel(WHEEL) == []
    assert wrong_in_sdist(SDIST) == []


def test_missing() -> None:
    assert wrong_in_wheel([name for name in WHEEL if "py.typed" not in name]) == ["no pytest_llmperf/py.typed"]
    assert wrong_in_sdist([name for name in SDIST if "scripts" not in name]) == ["no scripts/test"]


def test_strays() -> None:
    assert wrong_in_wheel([*WHEEL, "tests/conftest.py"]) == ["stray tests/conftest.py"]
    stray = "pytest_llmperf/__pycache__/plugin.pyc"
    assert wrong_in_sdist([*SDIST, f"pytest_llmperf-0.1.0/{stray}"]) == [f"stray {stray}"]
