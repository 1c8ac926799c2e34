"""Writes the tables of docs/reference.md that are made from the code: ``scripts/docs-tables``.

A table stands between ``<!-- NAME: made by scripts/docs-tables -->`` and ``<!-- end -->``; a test in tests/docs/
fails when one is stale.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.engines.llamacpp.server_main import SETTINGS
from pytest_llmperf.engines.simulated.model.settings import Simulation
from pytest_llmperf.plugin import fixtures
from pytest_llmperf.plugin.options import OPTIONS, Option
from pytest_llmperf.traffic.relay.paths import ENDPOINTS, HARMLESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

REFERENCE = Path(__file__).parents[1] / "docs" / "reference.md"
BLOCK = re.compile(
    r"(?P<begin><!-- (?P<name>[\w-]+): made by scripts/docs-tables -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)
# Words of a help text that are code: flags, variables, suffixes.
_CODE = re.compile(r"(?<![\w`])(--[a-z][a-z-]+|CUDA_VISIBLE_DEVICES|CI|PATH|\.json|\.md|\.html)(?![\w`])")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; ``|`` inside a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def options_table() -> str:
    """Every command-line option, its help and its default."""
    rows = [
        (_flags(option), _CODE.sub(r"`\1`", option.help), _CODE.sub(r"`\1`", option.default_text)) for option in OPTIONS
    ]
    return table(("option", "meaning", "default"), rows)


def _flags(option: Option) -> str:
    value = f"={option.metavar}" if option.metavar else ""
    flag = f"`{option.flag}{f'[{value}]' if option.kind == 'optional' else value}`"
    return f"{flag}, `{option.negative_flag}`" if option.negation else flag


def fixtures_table() -> str:
    """Every fixture, its scope, and its docstring."""
    rows = [(f"`{name}`", scope, text.replace("``", "`")) for name, scope, text in read_fixtures()]
    return table(("fixture", "scope", "what it gives"), rows)


def read_fixtures() -> list[tuple[str, str, str]]:
    """Name, scope and docstring of every fixture, in the order of the source."""
    tree = ast.parse(Path(fixtures.__file__).read_text(encoding="utf-8"))
    found = []
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if ast.unparse(decorator).startswith("pytest.fixture"):
                keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
                scope = next((ast.literal_eval(word.value) for word in keywords if word.arg == "scope"), "function")
                found.append((node.name, scope, " ".join((ast.get_docstring(node) or "").split())))
    return found


def list_simulated_settings() -> str:
    """Every setting of the simulated engine."""
    rows = [(f"`{key}`", f"`{default}`", meaning) for key, default, meaning in Simulation.describe()]
    return table(("setting", "default", "meaning"), rows)


def llamacpp_settings() -> str:
    """Every setting of the server from the llama.cpp wheel."""
    rows = [
        (f"`{key}`", setting.default_text or f"`{setting.default}`", setting.meaning)
        for key, setting in SETTINGS.items()
    ]
    return table(("setting", "default", "meaning"), rows)


# The metrics of requests, by what they have the engine do; a request for text has all others.
_METRICS_OF_INPUTS = {
    "embed": "`latency.embed_pNN`, `throughput.inputs`, `throughput.input_tokens`",
    "rank": "`latency.rank_pNN`, `throughput.inputs`, `throughput.input_tokens`",
}


def list_read_calls() -> str:
    """The protocols that are read, the ends of their paths and the metrics of their requests."""
    rows = [
        (
            endpoint.name,
            ", ".join(f"`{end}`" for end in endpoint.ends),
            _METRICS_OF_INPUTS.get(endpoint.work, "all of generated text"),
        )
        for endpoint in ENDPOINTS
    ]
    return table(("the call", "end of its path", "its metrics"), rows)


def list_harmless_calls() -> str:
    """The ends of the paths that generate no text."""
    rows = [(meaning, ", ".join(f"`{end}`" for end in ends)) for meaning, ends in HARMLESS.items()]
    return table(("the call", "end of its path"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "options": options_table,
    "fixtures": fixtures_table,
    "llamacpp-settings": llamacpp_settings,
    "read-calls": list_read_calls,
    "harmless-calls": list_harmless_calls,
    "simulated-settings": list_simulated_settings,
}


def with_tables(text: str) -> str:
    """The page with every table made anew."""
    return BLOCK.sub(lambda block: f"{block['begin']}{TABLES[block['name']]()}{block['end']}", text)


if __name__ == "__main__":
    REFERENCE.write_text(with_tables(REFERENCE.read_text(encoding="utf-8")), encoding="utf-8")
