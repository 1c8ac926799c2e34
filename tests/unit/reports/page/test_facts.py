"""Where the numbers come from."""

from __future__ import annotations

from dataclasses import replace

from pytest_llmperf.reports.page.facts import describe_engines, describe_session
from tests.helpers.report_samples import ENGINE, measurement, result


def test_engines_stand_side_by_side_and_differing_rows_are_marked() -> None:
    other = replace(ENGINE, version="0.12.0", variant="new", arguments=(("dtype", "half"),), warmup_seconds=1.0)
    results = [result("a"), result("b"), result("c", measured=replace(measurement(), engine=other))]
    table = describe_engines(results)
    assert table.labels == ("vllm:Qwen/Qwen3-0.6B", "new")
    rows = {name: (cells, differ) for name, cells, differ in table.rows}
    assert rows["engine"] == (("vllm 0.11.0", "vllm 0.12.0"), True)
    assert rows["model"] == (("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"), False)
    assert rows["dtype"] == (("–", "half"), True)
    assert describe_engines(results, ["new"]).labels == ("new", "vllm:Qwen/Qwen3-0.6B")
    assert describe_engines([]).labels == ()


def test_the_facts_of_a_run_are_read_as_words() -> None:
    git = {"commit": "0123abcd", "branch": "main", "dirty": True}
    facts = describe_session(
        {"git": git, "command_line": ["pytest", "-k", "a b"], "driver": None, "strict": True, "session_noise": 0.05}
    )
    assert dict(facts) == {
        "commit": "0123abcd on main, with changes that are not committed",
        "command line": "pytest -k 'a b'",
        "driver": "not known",
        "strict": "yes",
        "noise between sessions": "5 %",
    }
    assert dict(describe_session({})) == {"commit": "not known"}
