"""The end of a log, as it is quoted and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.lifecycle.logs import keep_log, quote_last_line, read_tail_with_cause, write_log
from tests.helpers.engine_processes import own_tmp

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["own_tmp"]


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


def test_the_cause_is_quoted_with_what_led_to_it_where_the_last_lines_do_not_hold_it(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(100)]
    lines[40] = "E ValueError: too small"
    log = tmp_path / "vllm.log"
    log.write_text("\n".join(lines), encoding="utf-8")
    assert read_tail_with_cause(log, "ValueError: too small").splitlines() == [*lines[31:41], "…", *lines[80:]]
    for cause in ("line 98", "never said", ""):
        assert read_tail_with_cause(log, cause).splitlines() == lines[80:]


def test_logs_are_kept_the_newest_ones_only(tmp_path: Path, own_tmp: Path) -> None:
    log = tmp_path / "vllm.log"
    log.write_text("it said this", encoding="utf-8")
    paths = [keep_log(log, "vllm", pid) for pid in range(30)]
    assert paths[-1] == keep_log(log, "vllm", 29)
    kept = {path.name for path in own_tmp.glob("*/logs/*")}
    assert len(kept) == 20
    assert "vllm-29.log" in kept
    assert keep_log(tmp_path / "none.log", "vllm", 1) == ""


def test_what_was_logged_in_this_process_is_written(own_tmp: Path) -> None:
    assert write_log("", "vllm", 1) == ""
    path = write_log("it said this", "vllm", 1)
    assert [file.read_text(encoding="utf-8") for file in own_tmp.glob("*/logs/*")] == ["it said this\n"]
    assert path.endswith("vllm-1.log")
