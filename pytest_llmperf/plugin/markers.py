"""One table of markers, and from the markers of a test to its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pytest

    from pytest_llmperf.budgets.limit import Limit

MARKERS = {
    "memory_budget": (
        "memory_budget(*, peak, growth, retained, idle, host_peak, weights, kv_cache, kv_reserved, required, "
        "kv_waste, offload, device=GLOB, engine=GLOB): upper limits on the engine's memory during the test, such as "
        "peak='16 GiB'; kv_waste is a share ('10 %'), offload a lower limit ('100 %')."
    ),
    "throughput_budget": (
        "throughput_budget(*, output, total, requests, goodput, per_user, device=GLOB, engine=GLOB): lower limits, "
        "such as output='800 tok/s' or goodput='10 req/s'."
    ),
    "latency_budget": (
        "latency_budget(*, ttft_pNN, ttft_answer_pNN, tpot_pNN, itl_pNN, chunk_gap_pNN, e2e_pNN, startup, device=GLOB, "
        "engine=GLOB): upper limits at a percentile, such as ttft_p95='300 ms', or at the largest value: ttft_max."
    ),
    "energy_budget": (
        "energy_budget(*, total, per_output_token, mean_power, device=GLOB, engine=GLOB): upper limits, such as "
        "total='500 J', per_output_token='2 J/tok', mean_power='300 W'."
    ),
    "llm_engines": "llm_engines(*names): run the test on these engines only, skip it on others.",
}
_BUDGETS = tuple(name for name in MARKERS if name.endswith("_budget"))
_KNOWN_ENGINES = ("vllm", "ollama", "llamacpp", "openai", "simulated")


def has_budget_marker(item: pytest.Item) -> bool:
    return any(mark.name in _BUDGETS for mark in item.iter_markers())


def limits_of(item: pytest.Item) -> list[list[Limit]]:
    """The limits from the markers of a test in layers, closest first: parameter, function, class, module, package.

    Raises:
        BudgetError: one line that names the test, the marker and the argument.
    """
    from pytest_llmperf.budgets.limit import parse_limits

    layers: list[list[Limit]] = []
    for marks in _layers(item):
        layer: list[Limit] = []
        for mark in marks:
            source = f"{item.name}: @{mark.name}"
            _refuse_positional(mark, source)
            layer += parse_limits(mark.name.removesuffix("_budget"), mark.kwargs, source)
        layers.append(layer)
    return layers


def _layers(item: pytest.Item) -> Iterator[list[pytest.Mark]]:
    by_node: dict[Any, list[pytest.Mark]] = {}
    for node, mark in item.iter_markers_with_node():
        if mark.name in _BUDGETS:
            by_node.setdefault(node, []).append(mark)
    # Marks of pytest.param() lie on the function's node as well, and are closer than the function's own.
    callspec = getattr(item, "callspec", None)
    yield from _divided(by_node.pop(item, []), () if callspec is None else callspec.marks)
    for node, marks in by_node.items():
        # All that a class inherits lies on its one node, and what it states itself is closer.
        for cls in getattr(getattr(node, "obj", None), "__mro__", ()):
            own, marks = _divided(marks, _as_marks(vars(cls).get("pytestmark", ())))
            yield own
        yield marks


def _divided(marks: Sequence[pytest.Mark], first: Sequence[pytest.Mark]) -> tuple[list[pytest.Mark], list[pytest.Mark]]:
    """Those of ``marks`` that are among the ``first``, and the others. Equal marks may stand in several places."""
    ids = {id(mark) for mark in first}
    return [mark for mark in marks if id(mark) in ids], [mark for mark in marks if id(mark) not in ids]


def _as_marks(pytestmark: Any) -> list[pytest.Mark]:
    decorators = pytestmark if isinstance(pytestmark, list | tuple) else [pytestmark]
    return [found for found in (getattr(decorator, "mark", decorator) for decorator in decorators) if found]


def _refuse_positional(mark: pytest.Mark, source: str) -> None:
    from pytest_llmperf.budgets.limit import BudgetError
    from pytest_llmperf.metrics.table import keys

    if mark.args:
        names = ", ".join(keys(mark.name.removesuffix("_budget")))
        raise BudgetError(f"{source}: {mark.args[0]!r} has no name; write KEY='...' with one of {names}")


def allowed_engines(item: pytest.Item) -> Sequence[str] | None:
    """The engines a test is limited to by ``llm_engines``; None for any.

    Raises:
        ValueError: a name that is no engine.
    """
    mark = item.get_closest_marker("llm_engines")
    if mark is None:
        return None
    if mark.kwargs or not mark.args:
        raise ValueError(f"{item.name}: @llm_engines takes names, such as @llm_engines('vllm', 'llamacpp')")
    for name in mark.args:
        if name not in _KNOWN_ENGINES:
            raise ValueError(
                f"{item.name}: @llm_engines: unknown engine {name!r}; it is one of {', '.join(_KNOWN_ENGINES)}"
            )
    return mark.args
