"""The templates of the page, and what they know."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.units import SECONDS, format_value
from pytest_llmperf.reports.page.sides import find_arrow
from pytest_llmperf.reports.page.states import find_tone
from pytest_llmperf.reports.verdicts import format_limit, format_reason

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_FOLDER = "pytest_llmperf.reports.page"


@cache
def open_templates() -> Environment:
    """The templates, which escape all that is put into them."""
    from jinja2 import DictLoader, Environment, StrictUndefined

    folder = files(_FOLDER)
    templates = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name.endswith("html")}
    environment = Environment(
        loader=DictLoader(templates),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_finalize,
    )
    environment.filters |= {
        "limit": format_limit,
        "reason": format_reason,
        "tone": find_tone,
        "arrow": find_arrow,
        "seconds": _seconds,
        "breakable": _make_breakable,
    }
    return environment


def _seconds(value: float) -> str:
    return format_value(value, SECONDS)


def _make_breakable(nodeid: str) -> Markup:
    """A node id that is broken before its function and its parameters, not within a word of them."""
    from markupsafe import Markup, escape

    path, separator, rest = str(_finalize(nodeid)).partition("::")
    test, bracket, parameters = rest.partition("[")
    return Markup("{}{}<wbr>{}<wbr>{}{}").format(*map(escape, (path, separator, test, bracket, parameters)))


def _finalize(value: object) -> object:
    """Text without characters that no page may have, or that turn the direction of what follows."""
    if type(value) is str:
        return "".join(char if char.isprintable() or char == "\n" else " " for char in value)
    return value


def mark_safe(text: str) -> Markup:
    """Text of our own that is not escaped: a style, a script, a plot."""
    from markupsafe import Markup

    return Markup(text)
