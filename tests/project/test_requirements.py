"""The locks fit the groups of ``pyproject.toml`` and name no address. ``pip check`` tells whether they are complete."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
LOCKS = sorted(path.stem for path in (PROJECT / "requirements").glob("*.txt"))
# What each lock holds beside the group of its own name.
BESIDE = {
    "foreign-suites": PYPROJECT["project"]["dependencies"],
    "llamacpp": [*PYPROJECT["project"]["dependencies"], *EXTRAS["llamacpp"], {"include-group": "build"}],
    "oldest": PYPROJECT["project"]["dependencies"],
    "test": [*PYPROJECT["project"]["dependencies"], *EXTRAS["llamacpp"], *EXTRAS["load"]],
}


def lock(name: str) -> str:
    return (PROJECT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")


def pins(name: str) -> dict[str, str]:
    """The version of each distribution in a lock, by its canonical name."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", lock(name), re.MULTILINE)
    return {canonicalize_name(distribution): version for distribution, version in found}


def requirements(wanted: list[Any]) -> list[Requirement]:
    """Those of a list as a dependency group has it, with the groups that it includes."""
    groups, found = PYPROJECT["dependency-groups"], []
    for entry in wanted:
        found += [Requirement(entry)] if isinstance(entry, str) else requirements(groups[entry["include-group"]])
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_fits_its_group(name: str) -> None:
    wanted = requirements([*PYPROJECT["dependency-groups"].get(name, []), *BESIDE.get(name, [])])
    pinned = pins(name)
    assert wanted
    unfit = [
        str(requirement)
        for requirement in wanted
        if not requirement.specifier.contains(pinned.get(canonicalize_name(requirement.name), "0"), prereleases=True)
        or canonicalize_name(requirement.name) not in pinned
    ]
    assert unfit == [], f"run scripts/lock: requirements/{name}.txt has no pin that fits"


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_address(name: str) -> None:
    assert re.findall(r"^.*(?:://|--index|--find-links|--extra).*$", lock(name), re.MULTILINE) == []


@pytest.mark.parametrize("name", [name for name in LOCKS if name != "torch-cpu"])
def test_each_pin_has_a_hash(name: str) -> None:
    entries = re.split(r"\n(?=[A-Za-z0-9])", lock(name))
    bare = [entry.splitlines()[0] for entry in entries if "==" in entry and "--hash=sha256:" not in entry]
    assert bare == []


def test_the_oldest_are_the_bounds_of_the_ranges() -> None:
    pinned = pins("oldest")
    bounds = requirements([*PYPROJECT["dependency-groups"]["oldest"], *PYPROJECT["project"]["dependencies"]])
    lowest = {canonicalize_name(r.name): next(s.version for s in r.specifier if s.operator == ">=") for r in bounds}
    differing = {
        name: (bound, pinned[name])
        for name, bound in lowest.items()
        if not Requirement(f"{name}=={bound}").specifier.contains(pinned[name])
    }
    assert differing == {}
