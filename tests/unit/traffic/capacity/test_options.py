"""The arguments of ``llm_client.capacity``."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmperf.measurement.capacity.steps import SearchOptions
from pytest_llmperf.traffic.capacity.options import parse_options
from pytest_llmperf.traffic.workloads.workload import workload

USUAL: dict[str, Any] = {
    "start": None,
    "lowest": None,
    "highest": None,
    "precision": "5 %",
    "until": None,
    "max_seconds": 600.0,
    "max_requests": None,
    "max_error_rate": "0 %",
}
MIX = workload(prompt_tokens=20)


def test_rates_shares_and_allowances_are_read() -> None:
    given = {"start": "120/min", "lowest": "1/s", "highest": "40 req/s", "until": "decided", "max_requests": 900}
    found = parse_options(MIX, **{**USUAL, **given, "max_error_rate": "2 %"})
    assert found.search == SearchOptions(2.0, 1.0, 40.0, 0.05, until_decided=True, most_requests=900)
    assert (found.most_seconds, found.max_error_rate) == (600.0, 0.02)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"start": 4}, "start=4 is not a rate"),
        ({"lowest": "4"}, "lowest='4' is not a rate"),
        ({"lowest": "4/s", "highest": "2/s"}, "lowest is above highest: 4 and 2 requests per second"),
        ({"start": "9/s", "highest": "2/s"}, "start is above highest"),
        ({"precision": "1 %"}, "precision='1 %' must be from '3 %'"),
        ({"precision": "200 %"}, "precision='200 %' must be"),
        ({"until": "done"}, "until='done' is not known"),
        ({"max_seconds": 0}, "max_seconds=0 must be"),
        ({"max_seconds": "60 s"}, "max_seconds='60 s' must be"),
        ({"max_requests": 20}, "max_requests=20 is too few for a search"),
        ({"max_requests": 1.5}, "max_requests"),
    ],
)
def test_what_cannot_be_is_refused_by_name(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        parse_options(MIX, **{**USUAL, **given})
