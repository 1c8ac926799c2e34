"""Globs over engines in budgets that can match none."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pytest_llmperf.engines.registry import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.engines.registry import EngineRegistry


def why_engine_unknown(limits: Sequence[Limit], labels: Sequence[str], registry: EngineRegistry) -> str:
    """Why a limit can apply to no engine that is known here, by one of these labels or by its name, or "".

    Raises:
        EngineError: the engines that other packages add cannot be told.
    """
    for limit in limits:
        glob = limit.engine
        if glob is None or _may_match(glob, BUILT_IN) or any(fnmatchcase(label, glob) for label in labels):
            continue
        if not _may_match(glob, registry.names):
            known = ", ".join([*labels, *registry.names])
            return f"{limit.source}: engine={glob!r} names no engine: there are {known}"
    return ""


def _may_match(glob: str, names: Iterable[str]) -> bool:
    """Whether it matches a name, or a label that is made of a name and a model."""
    return any(fnmatchcase(name, glob) or fnmatchcase(name, glob.partition(":")[0]) for name in names)
