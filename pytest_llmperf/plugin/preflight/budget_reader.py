"""Reads the budgets of tests from their markers and from ``llmperf.toml``, and notes them on the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.plugin.preflight.budget_files import find_budget_file
from pytest_llmperf.plugin.preflight.collection import Collection, name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.budgets.config_file import FileBudget
    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.engines.registry import EngineRegistry
    from pytest_llmperf.measurement.pages.definition import PageMetric
    from pytest_llmperf.measurement.pricing.prices import Prices
    from pytest_llmperf.plugin.preflight.findings import Findings

LIMITS: pytest.StashKey[list[Limit]] = pytest.StashKey()
MISTAKE: pytest.StashKey[str] = pytest.StashKey()
MARKED: pytest.StashKey[int] = pytest.StashKey()
ENGINES: pytest.StashKey[Sequence[str]] = pytest.StashKey()
WARM_CACHE: pytest.StashKey[bool] = pytest.StashKey()


class BudgetReader:
    """Notes on the stash of each test its limits, or the mistake in them, its engines, and if it wants a warm cache.

    ``labels`` are those of engines, which markers and files may name beside the engines of ``registry``. Budgets that
    no test reads are added to ``findings``. ``collection`` is to be registered as a plugin. ``prices`` are those that
    the file states; None without any. ``page_metrics`` are those that it has read from metrics pages.
    """

    def __init__(
        self,
        config: pytest.Config,
        registry: EngineRegistry,
        labels: Sequence[str],
        findings: Findings,
        *,
        strict: bool,
    ) -> None:
        self.collection = Collection()
        self.comparisons = 0
        self._config = config
        self._registry = registry
        self._labels = labels
        self._findings = findings
        self._strict = strict
        self.prices: Prices | None = None
        self.page_metrics: tuple[PageMetric, ...] = ()
        self._file_budgets: tuple[FileBudget, ...] = ()

    def load_file(self) -> None:
        """Reads ``llmperf.toml`` beside the project's configuration.

        Raises:
            pytest.UsageError: it cannot be read or understood.
        """
        path = find_budget_file(self._config)
        if path.is_file() or path.is_symlink():
            from pytest_llmperf.budgets.config_file import read_budget_file
            from pytest_llmperf.budgets.limit import BudgetError

            try:
                found = read_budget_file(path)
            except BudgetError as error:
                raise pytest.UsageError(f"llmperf: {error}") from None
            except OSError as error:
                raise pytest.UsageError(f"llmperf: {path} cannot be read: {error.strerror}") from None
            self._file_budgets, self.prices, self.page_metrics = found.budgets, found.prices, found.page_metrics

    def forget_file(self) -> None:
        """Takes the metrics of the file back: another session of this process may have other ones."""
        if self.page_metrics:
            from pytest_llmperf.metrics.table import set_page_metrics

            set_page_metrics(())

    def read(self, items: Sequence[pytest.Item]) -> None:
        """Reads the budgets of the tests that are going to run, and finds those that no test reads."""
        for item in items:
            self.prepare(item)
        self.comparisons = sum(limit.relative for item in items for limit in item.stash.get(LIMITS, ()))
        found = self.collection.check(self._config, items, self._file_budgets, self._findings, strict=self._strict)
        for item, mistake in found.items():
            item.stash.setdefault(MISTAKE, mistake)

    def prepare(self, item: pytest.Item) -> None:
        """Notes the limits of a test, or the mistake in them, on its stash."""
        from pytest_llmperf.plugin.markers import marks

        marked = item.stash[MARKED] = marks.count_budget_markers(item)
        try:
            allowed = marks.find_allowed_engines(item, self._labels, self._registry)
            item.stash[WARM_CACHE] = marks.wants_warm_cache(item)
        except ValueError as error:
            item.stash[MISTAKE] = str(error)
            return
        if allowed is not None:
            item.stash[ENGINES] = allowed
        if self._file_budgets or marked:
            self._prepare_limits(item)

    def _prepare_limits(self, item: pytest.Item) -> None:
        from pytest_llmperf.budgets.config_file import find_limits
        from pytest_llmperf.budgets.limit import BudgetError, merge, use_currency
        from pytest_llmperf.engines.api.spec import EngineError
        from pytest_llmperf.plugin.markers import marks
        from pytest_llmperf.plugin.preflight.engine_globs import why_engine_unknown

        try:
            limits = merge([*marks.limits_of(item), find_limits(name_of(item), self._file_budgets)])
            limits = use_currency(limits, self.prices.currency if self.prices is not None else "")
            unknown = why_engine_unknown(limits, self._labels, self._registry)
        except (BudgetError, EngineError) as error:
            item.stash[MISTAKE] = str(error)
            return
        if limits:
            item.stash[LIMITS] = limits
        if unknown and self._strict:
            item.stash[MISTAKE] = unknown
        elif unknown:
            self._findings.add(unknown, error=False)
