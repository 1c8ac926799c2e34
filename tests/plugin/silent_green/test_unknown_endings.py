"""An answer that ends in an unknown way is a failed request that names its ending."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.hostile_server import good_stream

if TYPE_CHECKING:
    from tests.conftest import Runs
    from tests.helpers.hostile_server import HostileServer

ASKS = """
    @pytest.mark.latency_budget(ttft_max="1 min", tpot_max="1 min", e2e_max="1 min")
    @pytest.mark.throughput_budget(output="0.1 tok/s", requests="0.1 req/s", goodput="0.1 req/s")
    def test_asks(llm_client):
        llm_client.generate("x", max_tokens=16)
"""


@pytest.mark.parametrize("finish", ["stop", "length", "content_filter"])
def test_a_known_ending_is_judged(runs: Runs, hostile: HostileServer, finish: str) -> None:
    hostile.answer = lambda _: good_stream(finish=finish)
    result = runs.plain(ASKS, "--llmperf-strict", *hostile.options)
    result.stdout.fnmatch_lines(["budgets: 6 PASS"])
