"""``pytest-llmperf store``: what it lists, shows, marks, removes and merges."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.baselines.store import Store
from tests.helpers.stored_reports import COMMIT, FINGERPRINT, FIRST_DAY, OTHER, make_engine, make_report, make_test

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., tuple[int, list[str], list[str]]]


def fill(store: Store, days: int, name: str = "main") -> list[Path]:
    return [store.save(name, make_report(day=day))[0] for day in range(days)]


# -------------------------------------------------------------------------------------------------------------- list


def test_an_empty_store_says_how_to_fill_it(command: Command) -> None:
    status, out, [line] = command("store", "list")
    assert (status, out) == (0, [])
    assert line.endswith(".llmperf: no run is stored; pytest --llmperf-save stores one")


def test_names_and_fingerprints_are_listed_in_words(store: Store, command: Command) -> None:
    fill(store, 3)
    engine = make_engine(OTHER, "NVIDIA A10G", quantisation="Q4_1", arguments={"ctx_size": 4096})
    engine["devices"] *= 2
    store.save("nightly/gpu", make_report(make_test(engine=engine)))
    status, [heading, main, nightly], err = command("store", "list")
    assert (status, err) == (0, [])
    assert heading.split() == [
        "name",
        "engine",
        "model",
        "devices",
        "settings",
        "runs",
        "newest",
        "oldest",
        "fingerprint",
    ]
    assert main.split("  ") != nightly.split("  ")
    for text in ("main", "vllm 0.31.2", "Qwen/Qwen3-0.6B", "NVIDIA L4", " 3 ", "2026-07-03", "2026-07-01", FINGERPRINT):
        assert text in main
    for text in ("nightly/gpu", "2 x NVIDIA A10G", "Q4_1 ctx_size=4096", " 1 ", OTHER):
        assert text in nightly


def test_the_runs_of_a_name_are_listed_with_the_anchor(store: Store, command: Command) -> None:
    first, *_ = fill(store, 3)
    store.set_anchor(first)
    store.save("other", make_report(day=9))
    status, lines, _ = command("store", "list", "main")
    assert status == 0
    assert [line.split()[0] for line in lines[1:]] == sorted(path.stem for path in first.parent.glob("*.json"))[::-1]
    assert [line.endswith("anchor") for line in lines] == [True, False, False, True]
    assert f"{COMMIT[:12]}  main" in lines[1]
    assert len(command("store", "list", "main", "--last=1")[1]) == 2


def test_lists_are_also_json(store: Store, command: Command) -> None:
    fill(store, 2)
    [row] = json.loads("\n".join(command("store", "list", "--json")[1]))
    assert (row["name"], row["runs"], row["fingerprint"]) == ("main", 2, FINGERPRINT)
    assert json.loads("\n".join(command("store", "list", "main", "--json")[1]))[0]["tests"] == 1


def test_a_broken_file_is_named_beside_the_list(store: Store, command: Command) -> None:
    *_, newest = fill(store, 2)
    newest.write_text("{", encoding="utf-8")
    status, lines, [complaint] = command("store", "list")
    assert (status, len(lines)) == (0, 2)
    assert complaint.startswith(f"{newest}: counts for nothing: it is not whole")


def test_the_store_of_the_nearest_folder_above_is_used(
    store: Store, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 1)
    below = tmp_path / "tests" / "perf"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert len(command("store", "list")[1]) == 2
    assert command("store", "list", "--store", str(below / "none"))[1] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "mian"], "no run is stored as 'mian'; there is main"),
        (["show", "mian"], "there is no run 'mian', and no name; store list NAME lists the runs of main"),
        (["show", "2026"], "'2026' begins the names of 2 runs: 20260701T063000000000Z-c0ffeec0ffee-"),
        (["anchor", "2025"], "there is no run '2025'"),
        (["prune", "--keep=1", "--name=mian"], "no run is stored as 'mian'"),
        (["prune"], "nothing says what to remove: give --keep=N, --older-than=AGE, or both"),
        (["merge", "nowhere"], "nowhere: there is no such folder"),
        (["export", "--format=csv", "--name=mian"], "no run is stored as 'mian'"),
        (["export", "--format=bencher", "--metric=memory.*"], "the newest runs of main have no value"),
        (["show", "main", "--test=test_none*"], "no test that matches 'test_none*' has a value of any metric"),
    ],
)
def test_what_cannot_be_done_is_one_line(store: Store, command: Command, arguments: list[str], message: str) -> None:
    fill(store, 2)
    status, out, [line] = command("store", *arguments)
    assert (status, out) == (1, [])
    assert message in line


@pytest.mark.parametrize(
    "arguments", [["prune", "--keep=-1"], ["prune", "--older-than=90"], ["export"], ["export", "--format=xml"], []]
)
def test_a_mistake_in_the_arguments_is_refused(command: Command, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command("store", *arguments)
    assert caught.value.code == 2


# --------------------------------------------------------------------------------------------------- show and anchor


def test_a_run_is_shown_test_by_test(store: Store, command: Command) -> None:
    tests = (
        make_test("a.py::test_one", {"latency.ttft_p50": 0.1234, "latency.ttft_p95": None, "memory.peak": 2.0**30}),
        make_test("a.py::test_two", {"throughput.output": 812.5}),
    )
    store.save("main", make_report(*tests, driver="570.1", day=1))
    store.save("main", make_report(day=0))
    status, [title, engine, about, *rows], err = command("store", "show", "main")
    assert (status, err) == (0, [])
    assert title.startswith("main: 20260702T063000000000Z-c0ffeec0ffee-")
    assert engine == "  vllm 0.31.2, Qwen/Qwen3-0.6B, NVIDIA L4"
    assert about == "  2026-07-02 06:30 UTC, commit c0ffeec0ffee, host runner-1, driver 570.1"
    assert [row.split() for row in rows] == [
        ["test", "metric", "value", "samples"],
        ["a.py::test_one", "latency.ttft_p50", "123", "ms", "12"],
        ["memory.peak", "1.00", "GiB", "12"],
        ["a.py::test_two", "throughput.output", "812", "tok/s", "12"],
    ]
    assert command("store", "show", title.split()[1][:12])[1] == [title, engine, about, *rows]
    assert len(command("store", "show", "main", "--metric=memory.*", "--test=*one")[1]) == 5


def test_the_newest_run_of_each_fingerprint_is_shown(store: Store, command: Command) -> None:
    fill(store, 2)
    store.save("main", make_report(make_test(engine=make_engine(OTHER, "NVIDIA A10G"))))
    lines = command("store", "show", "main")[1]
    assert [line for line in lines if line.startswith("  vllm")] == [
        "  vllm 0.31.2, Qwen/Qwen3-0.6B, NVIDIA L4",
        "  vllm 0.31.2, Qwen/Qwen3-0.6B, NVIDIA A10G",
    ]


def test_a_broken_run_cannot_be_shown_nor_be_an_anchor(store: Store, command: Command) -> None:
    [path] = fill(store, 1)
    path.write_text("{", encoding="utf-8")
    status, _, lines = command("store", "show", path.stem)
    assert (status, len(lines)) == (1, 1)
    status, _, lines = command("store", "anchor", path.stem)
    assert status == 1
    assert lines[-1].endswith("cannot be an anchor")
    assert not store.read_anchor_mark("main", FINGERPRINT)


def test_an_anchor_is_marked_by_the_beginning_of_its_name_or_by_its_path(store: Store, command: Command) -> None:
    first, second, _ = fill(store, 3)
    assert command("store", "anchor", second.stem[:8]) == (
        0,
        [f"{second.stem} is the anchor of main for {FINGERPRINT}"],
        [],
    )
    assert store.read_anchor_mark("main", FINGERPRINT) == second.name
    assert command("store", "anchor", str(first))[0] == 0
    assert store.read_anchor_mark("main", FINGERPRINT) == first.name


# --------------------------------------------------------------------------------------------------- prune and merge


def left(store: Store, name: str = "main") -> list[int]:
    return [int(path.name[6:8]) for path in store.list_files(name, FINGERPRINT)]


def test_the_newest_are_kept_and_the_oldest_as_anchor(store: Store, command: Command) -> None:
    fill(store, 6)
    status, out, _ = command("store", "prune", "--keep=2", "--dry-run")
    assert (status, out[-1]) == (0, "3 runs would be removed")
    assert left(store) == [1, 2, 3, 4, 5, 6]
    assert command("store", "prune", "--keep=2")[1] == [*out[:-1], "3 runs removed"]
    assert left(store) == [1, 5, 6]


def test_a_marked_anchor_is_kept_in_place_of_the_oldest(store: Store, command: Command) -> None:
    paths = fill(store, 6)
    store.set_anchor(paths[2])
    command("store", "prune", "--keep=1")
    assert left(store) == [3, 6]
    command("store", "prune", "--keep=0")
    assert left(store) == [3]


def test_what_is_older_is_removed_and_with_both_limits_what_is_beyond_both(store: Store, command: Command) -> None:
    fill(store, 2)
    now = (datetime.now(UTC) - FIRST_DAY) / timedelta(days=1)
    new = [store.save("main", make_report(day=now - age))[0] for age in (50, 5)]
    assert command("store", "prune", "--keep=3", "--older-than=30d")[1][-1] == "0 runs removed"
    assert command("store", "prune", "--keep=1", "--older-than=8w")[1][-1] == "1 run removed"
    assert command("store", "prune", "--older-than=30 d")[1][-1] == "1 run removed"
    assert store.list_files("main", FINGERPRINT)[1:] == new[1:]


def test_only_the_names_that_are_asked_for_are_pruned(store: Store, command: Command) -> None:
    for name in ("main", "a", "b"):
        fill(store, 4, name)
    command("store", "prune", "--keep=1", "--name=a", "--name=b")
    assert [len(left(store, name)) for name in ("main", "a", "b")] == [4, 2, 2]


def test_stores_are_merged_without_duplicates(store: Store, command: Command, tmp_path: Path) -> None:
    fill(store, 2)
    one, two = tmp_path / "one", tmp_path / "two"
    fill(Store(one), 4)
    fill(Store(two), 1, "nightly")
    status, out, err = command("store", "merge", str(one), str(two))
    assert (status, err) == (0, [])
    assert out == [f"{one}: 2 runs added, 2 here already", f"{two}: 1 run added, 0 here already"]
    assert left(store) == [1, 2, 3, 4]
    assert left(store, "nightly") == [1]
