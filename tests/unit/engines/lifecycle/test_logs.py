"""The end of a log, as it is quoted and kept."""

from __future__ import annotations

import pytest

from pytest_llmperf.engines.lifecycle.logs import quote_last_line


@pytest.mark.parametrize(
    "warning",
    [
        "WARNING 11-25 03:42:12 [interface.py:204] Failed to import from vllm._C",
        "(APIServer pid=1) WARNING 11-25 [config.py:1] something is not optimal",
        "/lib/python3.11/site-packages/x.py:12: FutureWarning: do not use this",
        'time=2026-11-25 level=WARN source=types.go:60 msg="invalid option"',
        "0.00.681.843 W llama_context: n_ctx is small",
    ],
)
def test_a_warning_is_not_what_a_server_is_doing(warning: str) -> None:
    assert quote_last_line(f"INFO loading weights\n{warning}\n\n") == " (INFO loading weights)"
    assert quote_last_line(warning) == ""
