"""The style sheets of the page and of its fragments: the colours of the plots and a few more, and the files."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_llmperf.reports.plots import style as plots

if TYPE_CHECKING:
    from collections.abc import Mapping

COLOURS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "--paper": ("#ffffff", "#14171b"),
        "--raised": ("#f4f6f8", "#1e2328"),
        "--link": ("#0550ae", "#79b8ff"),
        "--pass": ("#116329", "#56d364"),
        **{name: (colour, plots.DARK[name]) for name, colour in plots.LIGHT.items()},
    }
)
"""Each colour in light and in dark, by its custom property."""


@cache
def make_page_style() -> str:
    """That of the page, which is light or dark."""
    colours = "".join(f"{name}:light-dark({light},{dark});" for name, (light, dark) in COLOURS.items())
    return f":root{{{colours}}}\n{read_file('page.css')}{plots.STYLE}"


@cache
def make_fragment_style() -> str:
    """That of fragments, on pages that are light."""
    colours = "".join(f"{name}:{light};" for name, (light, _) in COLOURS.items())
    return f".llmperf{{{colours}}}\n{read_file('fragment.css')}{plots.STYLE}"


def read_file(name: str) -> str:
    """A file of this folder."""
    return files("pytest_llmperf.reports.page").joinpath(name).read_text(encoding="utf-8")
