"""``pytest-llmperf history``: one line for each test."""

from __future__ import annotations

import io
import json
import re
import sys
from typing import TYPE_CHECKING

import pytest

from tests.helpers.stored_reports import COMMIT, OTHER, make_engine, make_report, make_test

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.baselines.store import Store

    Command = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture(autouse=True)
def runs(store: Store) -> None:
    """Thirty runs: one test becomes slower on the sixteenth day with a new engine, the other stays as it is."""
    for day in range(30):
        slow, version = (0.1 + 0.03 * (day >= 15), "0.32.0" if day >= 15 else "0.31.2")
        tests = [
            make_test(test, {"latency.ttft_p50": value + 0.0001 * (day * 7 % 5)}, make_engine(version=version))
            for test, value in (("a.py::test_slower", slow), ("a.py::test_same", 0.1))
        ]
        store.save("main", make_report(*tests, day=day, driver="570.1"))


def test_each_test_has_a_line_with_its_changes(command: Command) -> None:
    status, [title, heading, same, slower], err = command("history", "ttft_p50")
    assert (status, err) == (0, [])
    assert title == "latency.ttft_p50 on vllm 0.32.0, Qwen/Qwen3-0.6B, NVIDIA L4 (0123456789abcdef)"
    columns = [re.split("  +", line) for line in (heading, same, slower)]
    assert columns[0] == ["test", "history", "runs", "newest", "since anchor", "changes of level"]
    assert columns[1][0] == "a.py::test_same"
    assert columns[1][2:] == ["30", "100 ms", "+0.0 %", "none"]
    assert columns[2][0] == "a.py::test_slower"
    assert set(columns[2][1]) <= set("▁▂▇█")
    change = f"2026-07-16 {COMMIT[:12]} +29.9 % (worse, version 0.31.2 to 0.32.0)"
    assert columns[2][2:] == ["30", "130 ms", "+29.9 %", change]


def test_only_what_is_asked_for_is_shown(command: Command, store: Store) -> None:
    engine = make_engine(OTHER, "NVIDIA A10G", label="new")
    store.save("main", make_report(make_test("a.py::test_same", engine=engine), day=40))
    assert len(command("history", "ttft_p50", "--test=*same")[1]) == 6
    assert [line.split()[0] for line in command("history", "ttft_p50", "--engine=new")[1][2:]] == ["a.py::test_same"]
    assert command("history", "ttft_p50", "--at-least=40 %", "--test=*slower")[1][2].endswith("none")
    assert "  10  " in command("history", "ttft_p50", "--last=10", "--test=*slower")[1][2]


def test_all_values_are_also_json(command: Command) -> None:
    [same, slower] = json.loads("\n".join(command("history", "latency.ttft_p50", "--json")[1]))
    assert [len(series["points"]) for series in (same, slower)] == [30, 30]
    assert ([change["index"] for change in slower["changes"]], same["changes"]) == ([15], [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ttft_p51"], "no stored run has a metric 'ttft_p51'; there is latency.ttft_p50"),
        (["ttft_p50", "--name=mian"], "no run is stored as 'mian'; there is main"),
        (["ttft_p50", "--test=none"], "no test on engine '*' that matches 'none' has a value of ttft_p50"),
    ],
)
def test_what_is_not_there_is_one_line(command: Command, arguments: list[str], message: str) -> None:
    status, out, [line] = command("history", *arguments)
    assert (status, out) == (1, [])
    assert message in line


@pytest.mark.parametrize("arguments", [[], ["ttft_p50", "--last=0"], ["ttft_p50", "--at-least=5"]])
def test_a_mistake_in_the_arguments_is_refused(command: Command, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command("history", *arguments)
    assert caught.value.code == 2


def test_a_terminal_that_knows_only_ascii_gets_ascii(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    assert command("history", "ttft_p50")[0] == 0
    output.seek(0)
    assert "__####" in output.read()


def test_who_has_read_enough_ends_the_command(monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    class ClosedPipe(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

        def fileno(self) -> int:
            return 10**6

    monkeypatch.setattr("os.dup2", lambda *_: None)
    monkeypatch.setattr(sys, "stdout", ClosedPipe())
    assert command("history", "ttft_p50")[0] == 1
