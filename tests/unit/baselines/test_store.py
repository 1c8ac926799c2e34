"""The store of runs: whole files that many processes write at once, and broken ones that count for nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.baselines.errors import StoreError
from pytest_llmperf.baselines.store import Store
from pytest_llmperf.baselines.stored_run import StoredRun, parse_run, to_text
from tests.helpers.stored_reports import COMMIT, FINGERPRINT, OTHER, make_engine, make_report, make_test
from tests.helpers.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / ".llmperf")


def list_all(folder: Path) -> list[str]:
    """Every file below a folder, hidden ones included."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def days(store: Store, name: str = "main", last: int = 20) -> list[int]:
    return [run.created.day for run in store.find_runs(name, FINGERPRINT, last)]


# ------------------------------------------------------------------------------------------------------------ saving


def test_a_run_is_found_again_with_all_that_it_measured(store: Store) -> None:
    [path] = store.save("main", make_report(make_test(values={"latency.ttft_p50": 0.25})))
    assert path.parent == store.path / "main" / FINGERPRINT
    assert path.name.startswith(f"20260701T063000000000Z-{COMMIT[:12]}-")
    [run] = Store(store.path).find_runs("main", FINGERPRINT)
    assert (run.path, run.commit, run.name, run.fingerprint) == (path, COMMIT, "main", FINGERPRINT)
    assert run.created.isoformat() == "2026-07-01T06:30:00+00:00"
    assert run.engine["model"] == "Qwen/Qwen3-0.6B"
    assert run.session["host"] == "runner-1"
    assert run.metrics["latency.ttft"]["unit"] == "s"
    assert run.tests["test_chat.py::test_fast"]["measurement"]["readings"]["latency.ttft_p50"]["value"] == 0.25


def test_records_of_single_requests_are_left_out_and_the_report_stays_as_it_is(store: Store) -> None:
    report = make_report(make_test(parts=[make_test()["measurement"]]))
    before = json.dumps(report)
    [path] = store.save("main", report)
    [measurement] = [test["measurement"] for test in json.loads(path.read_text(encoding="utf-8"))["tests"]]
    assert "records" not in measurement["requests"]
    assert "records" not in measurement["parts"][0]["requests"]
    assert json.dumps(report) == before


def test_the_same_report_twice_is_one_run(store: Store) -> None:
    assert store.save("main", make_report()) == store.save("main", make_report())
    assert len(list_all(store.path)) == 1


def test_a_run_that_is_saved_again_mends_its_broken_file(store: Store) -> None:
    [path] = store.save("main", make_report())
    path.write_text("", encoding="utf-8")
    assert store.save("main", make_report()) == [path]
    assert days(store) == [1]


def test_each_fingerprint_has_a_file_with_its_own_tests(store: Store) -> None:
    report = make_report(make_test("a"), make_test("b", engine=make_engine(OTHER)), make_test("c"))
    assert len(store.save("main", report)) == 2
    assert [list(run.tests) for run in store.find_runs("main", FINGERPRINT)] == [["a", "c"]]
    assert [list(run.tests) for run in store.find_runs("main", OTHER)] == [["b"]]
    assert set(store.fingerprints("main")) == {FINGERPRINT, OTHER}


def test_several_engines_of_a_test_are_compared_only_with_the_same_ones(store: Store) -> None:
    def pair(second: str) -> dict[str, Any]:
        parts = [{"engine": make_engine(), "readings": {}}, {"engine": make_engine(second), "readings": {}}]
        return make_report(make_test(parts=parts))

    [one], [same], [other] = (store.save("main", pair(second)) for second in (OTHER, OTHER, "1" * 16))
    assert one.parent == same.parent != other.parent
    assert FINGERPRINT not in (one.parent.name, other.parent.name)


def test_a_test_without_an_engine_is_stored_by_its_devices(store: Store) -> None:
    def on(device: str) -> dict[str, Any]:
        test = make_test(devices=[{"device": {"kind": "cuda", "name": device, "uuid": "GPU-1"}}])
        test["measurement"]["engine"] = None
        return make_report(test)

    [one], [other] = store.save("main", on("NVIDIA L4")), store.save("main", on("NVIDIA A10G"))
    assert one.parent != other.parent
    assert store.find_runs("main", one.parent.name)[0].engine == {}


def test_what_measured_nothing_is_not_stored(store: Store) -> None:
    assert store.save("main", make_report({**make_test(), "measurement": {}})) == []
    assert store.names() == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda report: report["tests"][0]["measurement"]["engine"].pop("fingerprint"), "test_fast: its engine has no"),
        (lambda report: report.pop("created"), "when it was created: None"),
        (lambda report: report.update(created="yesterday"), "when it was created: 'yesterday'"),
        (lambda report: report.update(schema=1), "schema 1, and this version reads 3"),
        (lambda report: report.update(session={"worker": object()}), "object is not JSON serializable"),
        (lambda report: report.update(session={"seconds": float("nan")}), "not JSON compliant"),
        (lambda report: report["tests"][0]["measurement"].update(readings=[]), "the report cannot be stored"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(
    store: Store, spoil: Callable[[dict[str, Any]], object], message: str
) -> None:
    report = make_report()
    spoil(report)
    with pytest.raises(StoreError, match=message):
        store.save("main", report)
    assert not store.path.exists()


def test_runs_of_one_second_stay_in_their_order(store: Store) -> None:
    for part in (0.2, 0.9, 0.1, 0.5):
        store.save("main", make_report(day=part / 86_400))
    found = store.find_runs("main", FINGERPRINT)
    assert [run.created.microsecond for run in found] == [900_000, 500_000, 200_000, 100_000]


@pytest.mark.parametrize("name", ["main", "v1.2", "nightly_gpu-4", "feature/faster-decode", "a/b/c", "x" * 100])
def test_names_that_can_be_used(store: Store, name: str) -> None:
    store.save(name, make_report())
    assert store.names() == [name]
    assert len(store.find_runs(name, FINGERPRINT)) == 1


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../main",
        "main/../..",
        "/etc",
        "main/",
        "a//b",
        ".hidden",
        "-x",
        "a b",
        "a\n",
        "ä",
        "a\\b",
        "C:x",
    ],
)
def test_names_that_have_another_form(store: Store, name: str) -> None:
    refuse_name(store, name)


@pytest.mark.parametrize("name", ["a\0", "x" * 101, FINGERPRINT, f"main/{FINGERPRINT}"])
def test_names_that_would_break_the_store(store: Store, name: str) -> None:
    refuse_name(store, name)


def refuse_name(store: Store, name: str) -> None:
    for use in (
        lambda: store.save(name, make_report()),
        lambda: store.find_runs(name, FINGERPRINT),
        lambda: store.find_anchor(name, FINGERPRINT),
        lambda: store.fingerprints(name),
    ):
        with pytest.raises(StoreError, match="cannot name stored runs"):
            use()
    assert not store.path.exists()


@pytest.mark.parametrize("fingerprint", ["", "..", "main", "../" * 5 + "x", FINGERPRINT.upper()])
def test_a_fingerprint_is_no_path(store: Store, fingerprint: str) -> None:
    with pytest.raises(StoreError, match="no fingerprint"):
        store.find_runs("main", fingerprint)


# ----------------------------------------------------------------------------------------------------------- finding


def test_runs_come_newest_first_and_only_those_asked_for_are_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (3, 0, 4, 1, 2):
        store.save("main", make_report(day=day))
    read: list[Path] = []

    def parse(text: str, path: Path, name: str, fingerprint: str) -> StoredRun:
        read.append(path)
        return parse_run(text, path, name, fingerprint)

    monkeypatch.setattr(f"{Store.__module__}.parse_run", parse)
    assert days(store, last=2) == [5, 4]
    assert days(store, last=2) == [5, 4]
    assert len(read) == 2


def test_an_unknown_name_or_fingerprint_has_no_runs(store: Store) -> None:
    assert (store.names(), store.find_runs("main", FINGERPRINT), store.fingerprints("main")) == ([], [], {})
    assert store.find_anchor("main", FINGERPRINT) is None
    store.save("main", make_report())
    assert store.find_runs("main", OTHER) == store.find_runs("other", FINGERPRINT) == []


def test_a_name_may_lie_below_another(store: Store) -> None:
    store.save("main", make_report(day=0))
    store.save("main/nightly", make_report(day=1))
    assert store.names() == ["main", "main/nightly"]
    assert days(store, "main") == [1]
    assert list(store.fingerprints("main")) == [FINGERPRINT]


def test_the_anchor_is_the_marked_run_else_the_oldest(store: Store) -> None:
    for day in range(3):
        store.save("main", make_report(day=day))
    anchor = store.find_anchor("main", FINGERPRINT)
    assert anchor is not None
    assert anchor.created.day == 1
    store.set_anchor(store.find_runs("main", FINGERPRINT)[1].path)
    for again in (store, Store(store.path)):
        anchor = again.find_anchor("main", FINGERPRINT)
        assert anchor is not None
        assert anchor.created.day == 2
    assert not store.faults


def test_an_anchor_that_is_gone_is_named(store: Store) -> None:
    for day in range(3):
        store.save("main", make_report(day=day))
    [run] = store.find_runs("main", FINGERPRINT, last=1)
    store.set_anchor(run.path)
    store.remove([run.path])
    anchor = store.find_anchor("main", FINGERPRINT)
    assert anchor is not None
    assert anchor.created.day == 1
    assert "anchor: the run that it names is not there" in next(iter(store.faults.values()))


def test_what_is_removed_leaves_no_empty_folder(store: Store) -> None:
    for day in range(2):
        store.save("a/b", make_report(day=day))
    newest, oldest = store.find_runs("a/b", FINGERPRINT)
    store.set_anchor(newest.path)
    store.remove([oldest.path])
    assert days(store, "a/b") == [2]
    store.remove([newest.path])
    assert store.find_runs("a/b", FINGERPRINT) == []
    assert list(store.path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------ broken files


def spoil_text(text: str) -> dict[str, str]:
    """What may be found in place of a run's file, by what it is."""
    report = json.loads(text)
    [test] = report["tests"]

    def with_measurement(**changes: Any) -> list[dict[str, Any]]:
        return [{**test, "measurement": {**test["measurement"], **changes}}]

    return {
        "empty": "",
        "truncated": text[: len(text) // 2],
        "no JSON": "<html>404</html>",
        "another JSON": "[1, 2, 3]",
        "a benchmark": json.dumps({"benchmarks": []}),
        "an older schema": json.dumps({**report, "schema": 2}),
        "a newer schema": json.dumps({**report, "schema": 4}),
        "no tests": json.dumps({**report, "tests": []}),
        "tests of no shape": json.dumps({**report, "tests": [1, None]}),
        "readings of no shape": json.dumps({**report, "tests": with_measurement(readings=None)}),
        "an engine of no shape": json.dumps({**report, "engines": [{"fingerprint": 3}]}),
        "an engine that is not there": json.dumps({**report, "engines": []}),
        "devices of no shape": json.dumps({**report, "engines": [{}], "tests": with_measurement(devices=[1])}),
        "no session": json.dumps({key: value for key, value in report.items() if key != "session"}),
        "no tables": json.dumps({key: value for key, value in report.items() if key != "missing"}),
        "metrics of no shape": json.dumps({**report, "metrics": 7}),
        "another fingerprint": json.dumps({**report, "engines": [make_engine(OTHER)]}),
        "no time": json.dumps({**report, "created": None}),
        "too deep": "[" * 100_000,
    }


BROKEN = list(spoil_text(to_text(make_report())))


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_named_in_one_line_and_counts_for_nothing(store: Store, what: str) -> None:
    paths = [store.save("main", make_report(day=day))[0] for day in range(3)]
    paths[2].write_text(spoil_text(paths[2].read_text(encoding="utf-8"))[what], encoding="utf-8")
    assert days(store, last=2) == [2, 1]
    [line] = store.faults.values()
    assert line.startswith(f"{paths[2]}: counts for nothing: ")
    assert "\n" not in line
    assert store.fingerprints("main")[FINGERPRINT].created.day == 2
    assert len(list(store.read("main", FINGERPRINT, paths))) == 2


def put_bytes(folder: Path) -> None:
    (folder / f"20260801T000000000000Z-nogit-{'0' * 8}.json").write_bytes(b"\xff\xfe\x00")


def put_folder(folder: Path) -> None:
    (folder / f"20260801T000000000000Z-nogit-{'0' * 8}.json").mkdir()


def put_dead_link(folder: Path) -> None:
    (folder / f"20260801T000000000000Z-nogit-{'0' * 8}.json").symlink_to(folder / "gone")


def put_foreign(folder: Path) -> None:
    (folder / "report.json").write_text(json.dumps(make_report(day=9)), encoding="utf-8")


def put_link_to_itself(folder: Path) -> None:
    (folder / f"20260801T000000000000Z-nogit-{'0' * 8}.json").symlink_to("20260801T000000000000Z-nogit-00000000.json")


@pytest.mark.parametrize("put", [put_bytes, put_folder, put_dead_link, put_foreign, put_link_to_itself])
def test_what_is_no_file_of_a_run_is_named(store: Store, put: Callable[[Path], None]) -> None:
    [path] = store.save("main", make_report())
    put(path.parent)
    assert days(store) == [1]
    [line] = store.faults.values()
    assert "for nothing" in line
    assert "\n" not in line


def test_hidden_files_and_what_lies_beside_the_folders_is_not_looked_at(store: Store) -> None:
    [path] = store.save("main", make_report())
    for name in (".DS_Store", ".draft-1-dead", ".gitignore"):
        (path.parent / name).write_text("{", encoding="utf-8")
    (store.path / "README.md").write_text("our baselines", encoding="utf-8")
    (store.path / "not a name").mkdir()
    assert (store.names(), days(store), store.faults) == (["main"], [1], {})


def test_a_store_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.write_text("", encoding="utf-8")
    with pytest.raises(StoreError, match="store: cannot be read: Not a directory"):
        Store(path).names()
    with pytest.raises(StoreError, match="the run could not be stored"):
        Store(path).save("main", make_report())


def test_a_link_to_a_store_is_one_and_a_link_upwards_is_not_followed_forever(store: Store, tmp_path: Path) -> None:
    store.save("main", make_report())
    (store.path / "main" / "up").symlink_to(store.path)
    link = tmp_path / "link"
    link.symlink_to(store.path)
    linked = Store(link)
    assert linked.names() == ["main"]
    linked.save("main", make_report(day=1))
    assert days(store) == [2, 1]


def test_removing_a_linked_run_leaves_what_it_points_to(store: Store, tmp_path: Path) -> None:
    [path] = store.save("main", make_report())
    kept = tmp_path / "kept.json"
    path.rename(kept)
    path.symlink_to(kept)
    store.remove(store.list_files("main", FINGERPRINT))
    assert kept.exists()
    assert store.names() == []


# ------------------------------------------------------------------------------------------------- writers and files


def refuse(*_: object, **__: object) -> None:
    raise OSError(30, "Read-only file system")


def test_a_store_that_cannot_be_written_is_one_line_and_is_still_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save("main", make_report())
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(StoreError, match="the run could not be stored: Read-only file system"):
        store.save("main", make_report(day=1))
    with pytest.raises(StoreError, match="anchor: could not be written: Read-only file system"):
        store.set_anchor(store.find_runs("main", FINGERPRINT)[0].path)
    assert days(store) == [1]
    assert len(list_all(store.path)) == 1, "a draft is left"


def test_a_run_is_stored_with_all_its_fingerprints_or_with_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, left = os.replace, [1]

    def replace_once(source: Path, target: Path) -> None:
        if not left:
            raise OSError(28, "No space left on device")
        left.pop()
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_once)
    with pytest.raises(StoreError, match="No space left on device"):
        store.save("main", make_report(make_test("a"), make_test("b", engine=make_engine(OTHER))))
    assert list_all(store.path) == []


def save_runs(path: Path, writer: int, runs: int) -> None:
    """Saves runs of one moment and one commit, as the jobs of one CI matrix may."""
    store = Store(path)
    for run in range(runs):
        store.save("main", make_report(job=f"{writer}-{run}"))


def test_many_processes_write_at_once(store: Store) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=save_runs, args=(store.path, writer, 10)) for writer in range(8)]
    for process in writers:
        process.start()
    for process in writers:
        process.join(PATIENCE_S)
    assert [process.exitcode for process in writers] == [0] * 8
    runs = store.find_runs("main", FINGERPRINT, last=1000)
    assert {run.session["job"] for run in runs} == {f"{writer}-{run}" for writer in range(8) for run in range(10)}
    assert not store.faults


def holds(store: Store, runs: int) -> bool:
    return len(store.list_files("main", FINGERPRINT)) > runs


def test_a_writer_that_is_killed_leaves_nothing_that_is_read(store: Store) -> None:
    context = multiprocessing.get_context("fork")
    for number in range(1, 6):
        writer = context.Process(target=save_runs, args=(store.path, number, 100_000))
        writer.start()
        until(partial(holds, store, 10 * number))
        os.kill(writer.pid or 0, signal.SIGKILL)
        writer.join(PATIENCE_S)
    (store.path / "main" / FINGERPRINT / ".draft-1-0123").write_text('{"schema"', encoding="utf-8")
    assert len(store.find_runs("main", FINGERPRINT, last=10**6)) == len(store.list_files("main", FINGERPRINT))
    assert not store.faults


def test_pruning_beside_writers_loses_no_run(store: Store) -> None:
    done = threading.Event()
    pruned: list[str] = []

    def prune() -> None:
        while not done.is_set():
            other = Store(store.path)
            runs = other.find_runs("main", FINGERPRINT, last=1000)
            other.remove(run.path for run in runs)
            pruned.extend(run.session["job"] for run in runs)

    pruner = threading.Thread(target=prune)
    pruner.start()
    try:
        save_runs(store.path, 0, 200)
    finally:
        done.set()
        pruner.join(PATIENCE_S)
    left = [run.session["job"] for run in store.find_runs("main", FINGERPRINT, last=1000)]
    assert sorted(pruned + left) == sorted(f"0-{run}" for run in range(200))


def test_only_old_drafts_are_removed(store: Store) -> None:
    for day in range(2):
        [path] = store.save("main", make_report(day=day))
    old, new = path.with_name(".draft-1-old"), path.with_name(".draft-2-new")
    for draft in (old, new):
        draft.write_text("{", encoding="utf-8")
    os.utime(old, (0, 0))
    store.remove(store.list_files("main", FINGERPRINT)[-1:])
    assert (old.exists(), new.exists()) == (False, True)


# ----------------------------------------------------------------------------------------------------------- merging


def test_a_merge_takes_what_is_new_and_leaves_the_other_store_as_it_is(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    store.save("main", make_report(day=0))
    for day in range(3):
        other.save("main", make_report(day=day))
    other.save("main", make_report(make_test(engine=make_engine(OTHER))))
    other.save("nightly/gpu", make_report(day=5))
    before = list_all(other.path)
    assert store.merge(other) == (4, 1)
    assert list_all(store.path) == before == list_all(other.path)
    assert store.merge(Store(other.path)) == (0, 5)
    assert days(store) == [3, 2, 1]


def test_a_merge_leaves_out_what_is_broken_and_names_it(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    for day in range(2):
        [path] = other.save("main", make_report(day=day))
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert store.merge(other) == (1, 0)
    assert list(other.faults) == [path]
    assert days(store) == [1]


def test_an_anchor_is_taken_over_only_where_there_is_none(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    for day in range(3):
        other.save("main", make_report(day=day))
    first, second, third = other.list_files("main", FINGERPRINT)
    other.set_anchor(second)
    store.merge(other)
    assert store.read_anchor_mark("main", FINGERPRINT) == second.name
    other.set_anchor(third)
    store.merge(other)
    assert store.read_anchor_mark("main", FINGERPRINT) == second.name
    assert first.exists()


def test_a_file_that_was_changed_counts_for_nothing(store: Store) -> None:
    [path] = store.save("main", make_report())
    path.write_text(path.read_text(encoding="utf-8").replace("0.2", "0.1"), encoding="utf-8")
    assert days(store) == []
    assert "was changed after it was stored" in store.faults[path]


def test_line_ends_that_git_has_changed_do_not_matter(store: Store) -> None:
    [path] = store.save("main", make_report())
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert days(store) == [1]
