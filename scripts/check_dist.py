"""Checks what was built: ``python scripts/check_dist.py FOLDER`` with one wheel and one source distribution in it."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

_PACKAGE = "pytest_llmperf"
# What a user's tools look for in the wheel, and what is needed to test and to build from source.
_IN_WHEEL = (
    f"{_PACKAGE}/plugin/__init__.py",
    f"{_PACKAGE}/py.typed",
    f"{_PACKAGE}/engines/tested_versions.json",
    f"{_PACKAGE}/reports/report.schema.json",
    f"{_PACKAGE}/reports/page/page.html",
    f"{_PACKAGE}/reports/page/parts.html",
    f"{_PACKAGE}/reports/page/page.css",
    f"{_PACKAGE}/reports/page/page.js",
)
_IN_SDIST = (
    *_IN_WHEEL,
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "conftest.py",
    "pyproject.toml",
    "requirements/test.txt",
    "scripts/test",
    "tests/conftest.py",
)


def wrong_in_wheel(names: list[str]) -> list[str]:
    """What is missing from the files of a wheel, and what has no place there."""
    strays = [name for name in names if not name.startswith(f"{_PACKAGE}/") and ".dist-info/" not in name]
    return [f"no {name}" for name in _IN_WHEEL if name not in names] + [f"stray {name}" for name in strays]


def wrong_in_sdist(names: list[str]) -> list[str]:
    """The same of a source distribution, whose files all lie in one folder."""
    inside = {name.partition("/")[2] for name in names}
    strays = [name for name in inside if "__pycache__" in name or name.startswith((".venv", ".cache"))]
    return [f"no {name}" for name in _IN_SDIST if name not in inside] + [f"stray {name}" for name in sorted(strays)]


def main(folder: Path) -> int:
    [wheel] = folder.glob("*.whl")
    [sdist] = folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as zipped, tarfile.open(sdist) as tar:
        wrong = [f"{wheel.name}: {what}" for what in wrong_in_wheel(zipped.namelist())]
        wrong += [f"{sdist.name}: {what}" for what in wrong_in_sdist(tar.getnames())]
    print(*wrong or [f"{wheel.name} and {sdist.name} are complete"], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
