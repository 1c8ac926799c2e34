"""Runs other projects' test suites in an environment without this plugin and in one with it, and compares.

``python scripts/foreign_suites.py [NAME...]``; ``scripts/foreign-suites`` makes the environments first.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from xml.etree import ElementTree

_PROJECT = Path(__file__).resolve().parent.parent
_REQUIREMENTS = _PROJECT / "requirements" / "foreign-suites.txt"
_FOLDER = _PROJECT / ".cache" / "foreign-suites"
_PYTHONS = {name: _PROJECT / f".venv-foreign-{name}" / "bin" / "python" for name in ("without", "with")}
# What each suite is run with. That of pytest-benchmark asks for notebooks by default, for one of its tests.
_SUITES = {
    "pytest-xdist": (),
    "pytest-benchmark": (
        "-o",
        "addopts=--strict-markers --doctest-modules --doctest-glob=*.rst --ignore=tests/test_nbmake.ipynb",
    ),
    "pluggy": (),
}


class Run(NamedTuple):
    """The tests of a suite that passed, and how long all of them took."""

    passed: frozenset[str]
    seconds: float


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in _SUITES]
    if unknown:
        print(f"unknown suite {unknown[0]!r}: it is one of {', '.join(_SUITES)}", file=sys.stderr)
        return 2
    differ: list[str] = []
    table = [f"{'suite':24}{'passed without':>16}{'passed with':>13}{'seconds':>16}"]
    for name in names or _SUITES:
        source = _source(name)
        without, with_it = (_run(name, source, which) for which in _PYTHONS)
        counts = f"{len(without.passed):>16}{len(with_it.passed):>13}"
        table.append(f"{source.name:24}{counts}{without.seconds:>8.0f}{with_it.seconds:>8.0f}")
        differ += [f"passes only without the plugin: {test}" for test in sorted(without.passed - with_it.passed)]
        differ += [f"passes only with the plugin: {test}" for test in sorted(with_it.passed - without.passed)]
        differ += [] if without.passed else [f"not one test of {name} passes"]
    print("", *table, *(differ or ["The same tests pass."]), sep="\n")
    return 1 if differ else 0


def _source(name: str) -> Path:
    """The unpacked source distribution, of the version that is pinned and installed."""
    pin: str
    [pin] = re.findall(rf"^{name}==\S+", _REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE)
    folder = _FOLDER / pin.replace("==", "-")
    if not folder.exists():
        downloads = _FOLDER / "downloads" / name
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", f"--no-binary={name}", f"--dest={downloads}"]
        subprocess.run([str(_PYTHONS["without"]), "-m", "pip", "download", *options, pin], check=True, timeout=600)
        version = pin.partition("==")[2]
        [archive] = downloads.glob(f"*-{version}.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(downloads, filter="data")
        (downloads / archive.name.removesuffix(".tar.gz")).rename(folder)
    return folder


def _run(name: str, source: Path, which: str) -> Run:
    print(f"==> {source.name} {which} the plugin", flush=True)
    report = _FOLDER / f"{name}-{which}.xml"
    report.unlink(missing_ok=True)
    python = _PYTHONS[which]
    command = [str(python), "-m", "pytest", "--quiet", "-p", "no:cacheprovider", f"--junit-xml={report}"]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PYTHON", "CI"))}
    begun = time.monotonic()
    # pytest removes the temporary folders of earlier runs, and would those of others that run now.
    with (
        TemporaryDirectory(prefix="suite-") as temporary,
        (_FOLDER / f"{name}-{which}.log").open("w", encoding="utf-8") as log,
    ):
        path = f"{python.parent}{os.pathsep}{kept['PATH']}"  # some tests run console scripts
        environment = {**kept, "TMPDIR": temporary, "PATH": path, "COLUMNS": "80"}
        subprocess.run(
            [*command, *_SUITES[name]], cwd=source, env=environment, stdout=log, stderr=subprocess.STDOUT, timeout=3600
        )
    if not report.exists():
        raise SystemExit(f"{name} {which} the plugin did not run: see {log.name}")
    passed: set[str] = set()
    others: set[str] = set()
    for case in ElementTree.parse(report).iter("testcase"):
        bad = any(child.tag in ("failure", "error", "skipped") for child in case)
        (others if bad else passed).add(f"{case.get('classname')}::{case.get('name')}")
    # A test that passed and failed in its teardown is there twice.
    return Run(frozenset(passed - others), time.monotonic() - begun)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
