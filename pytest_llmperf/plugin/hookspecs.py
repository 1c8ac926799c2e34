"""The hooks that this plugin calls: other packages, and the ``conftest.py`` at the root, may implement them.

pytest refuses hooks that it does not know. Mark an implementation with ``@pytest.hookimpl(optionalhook=True)`` if it
must also load where pytest-llmperf is not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.reports.files.formats import Render


def pytest_llmperf_engines() -> Mapping[str, type[Engine]]:  # type: ignore[empty-body]
    """Adds engines for ``--llm-engine``: a dict from name to class, such as ``{"sglang": SGLangEngine}``.

    The class is a subclass of ``pytest_llmperf.Engine`` whose ``name`` is the key. A package that is installed
    can register it by an entry point instead, in the group ``pytest_llmperf.engines``. A name that is taken already is
    refused when an engine is asked for.

    Called when an engine is first asked for, by an option or by ``@llm_engines``.
    """


def pytest_llmperf_reports() -> Mapping[str, Render]:  # type: ignore[empty-body]
    """Adds formats for ``--llmperf-report``: a dict from suffix to function, such as ``{".csv": to_csv}``.

    The function takes ``(results, session)`` and returns the text of the file, which is written as UTF-8. ``results``
    holds one ``TestResult`` per measured test, in the order in which the tests ended. ``session`` is a dict of plain
    values, the same as ``session`` in the JSON report. If the function raises, the file is not written, the summary
    says why, and the run fails.

    Called when pytest is configured, only if a report was asked for.
    """
