"""The markers, and from those of a test to its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.registry import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pytest

    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.engines.registry import EngineRegistry

# The groups of metrics, written out: a run without a measured test does not import the table of metrics.
BUDGET_MARKERS = (
    "memory_budget",
    "throughput_budget",
    "latency_budget",
    "energy_budget",
    "cost_budget",
    "quality_budget",
)
MARKERS = (*BUDGET_MARKERS, "llm_engines", "llm_cache")
_WARM = "warm"
_CACHE_STATES = ("cold", _WARM)
_ENGINES_HELP = "llm_engines(*names): run the test on the engines of these names or labels only, skip it on others."
_CACHE_HELP = (
    "llm_cache(state): 'cold' empties the engine's prompt cache before each round, as without it; 'warm' leaves in it "
    "what earlier tests and rounds have sent."
)


def register_markers(config: pytest.Config) -> None:
    """Makes the markers known to pytest, with their help texts if it was asked to list them."""
    lines: Sequence[str] = describe_markers() if config.getoption("markers") else MARKERS
    for line in lines:
        config.addinivalue_line("markers", line)


def describe_markers() -> list[str]:
    """The line of each marker for ``pytest --markers``: its signature and what it does, made from the metrics."""
    from pytest_llmperf.metrics.table import GROUPS

    return [*map(_describe_budget, GROUPS), _ENGINES_HELP, _CACHE_HELP]


def _describe_budget(group: str) -> str:
    """``memory_budget(*, peak, ..., device=GLOB, engine=GLOB): upper limits, such as peak='16 GiB'; ...``."""
    from pytest_llmperf.metrics.table import COMPARISON, METRICS, SCOPES

    metrics = [metric for metric in METRICS.values() if metric.group == group]
    own = ["**SCORES", *COMPARISON] if group == "quality" else []
    arguments = ", ".join([*(metric.limit_key for metric in metrics), *own, *(f"{scope}=GLOB" for scope in SCOPES)])
    examples: dict[str, str] = {}
    for metric in metrics:
        key = metric.limit_key.replace("NN", "95")
        examples.setdefault(metric.quantity.base, f"{key}='{metric.quantity.example}'")
    upper = ", ".join(metric.limit_key for metric in metrics if metric.better == "lower")
    lower = ", ".join(metric.limit_key for metric in metrics if metric.better == "higher")
    if upper and lower:
        direction = f"upper limits, for {lower} a lower one"
    else:
        direction = "upper limits" if upper else "lower limits"
    statistics = " (NN is a percentile; _max in place of _pNN limits the largest value)" if "_pNN" in arguments else ""
    return f"{group}_budget(*, {arguments}): {direction}, such as {', '.join(examples.values())}{statistics}."


def count_budget_markers(item: pytest.Item) -> int:
    return sum(mark.name in BUDGET_MARKERS for mark in item.iter_markers())


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
        if mark.name in BUDGET_MARKERS:
            by_node.setdefault(node, []).append(mark)
    # Marks of pytest.param() lie on the function's node as well, and are closer than the function's own.
    callspec = getattr(item, "callspec", None)
    yield from _divide(by_node.pop(item, []), () if callspec is None else callspec.marks)
    for node, marks in by_node.items():
        # All that a class inherits lies on its one node, and what it states itself is closer.
        for cls in getattr(getattr(node, "obj", None), "__mro__", ()):
            own, marks = _divide(marks, as_marks(vars(cls).get("pytestmark", ())))
            yield own
        yield marks


def _divide(marks: Sequence[pytest.Mark], first: Sequence[pytest.Mark]) -> tuple[list[pytest.Mark], list[pytest.Mark]]:
    """Divides ``marks`` into those that are among ``first`` and the others, by identity, as marks may be equal."""
    ids = {id(mark) for mark in first}
    return [mark for mark in marks if id(mark) in ids], [mark for mark in marks if id(mark) not in ids]


def as_marks(pytestmark: Any) -> list[pytest.Mark]:
    decorators = pytestmark if isinstance(pytestmark, list | tuple) else [pytestmark]
    return [found for found in (getattr(decorator, "mark", decorator) for decorator in decorators) if found]


def _refuse_positional(mark: pytest.Mark, source: str) -> None:
    from pytest_llmperf.budgets.limit import BudgetError
    from pytest_llmperf.metrics.table import list_keys

    if mark.args:
        names = ", ".join(list_keys(mark.name.removesuffix("_budget")))
        raise BudgetError(f"{source}: {mark.args[0]!r} has no name; write KEY='...' with one of {names}")


def find_allowed_engines(item: pytest.Item, labels: Sequence[str], registry: EngineRegistry) -> Sequence[str] | None:
    """The engines a test is limited to by ``llm_engines``: labels, names, or ``name:model``; None for any.

    Raises:
        ValueError: one that is neither among ``labels`` nor the name of an engine, or two engines have one name.
    """
    mark = item.get_closest_marker("llm_engines")
    if mark is None:
        return None
    if mark.kwargs or not mark.args:
        raise ValueError(f"{item.name}: @llm_engines takes names, such as @llm_engines('vllm', 'llamacpp')")
    unknown = [name for name in mark.args if name not in labels and str(name).partition(":")[0] not in BUILT_IN]
    if not unknown:
        return mark.args
    from pytest_llmperf.engines.api.spec import EngineError

    try:
        known = registry.names
    except EngineError as error:
        raise ValueError(f"{item.name}: @llm_engines: {error}") from None
    if unknown := [name for name in unknown if str(name).partition(":")[0] not in known]:
        names = ", ".join([*labels, *known])
        raise ValueError(f"{item.name}: @llm_engines: unknown engine {unknown[0]!r}; it is one of {names}")
    return mark.args


def wants_warm_cache(item: pytest.Item) -> bool:
    """Whether the closest ``llm_cache`` asks for the engine's prompt cache as earlier tests have left it.

    Raises:
        ValueError: it does not have exactly one of the two states.
    """
    mark = item.get_closest_marker("llm_cache")
    if mark is None:
        return False
    if mark.kwargs or len(mark.args) != 1 or mark.args[0] not in _CACHE_STATES:
        given = ", ".join([*map(repr, mark.args), *(f"{key}={value!r}" for key, value in mark.kwargs.items())])
        raise ValueError(f"{item.name}: @llm_cache({given}): it takes one state, 'cold' or 'warm'")
    return bool(mark.args[0] == _WARM)
