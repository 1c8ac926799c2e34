from __future__ import annotations

import http.client
import json
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.helpers.simulated_process import Running, launched, serving, stream_of, texts
from tests.helpers.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from pathlib import Path


MIB = 2**20


def test_nothing_is_written_before_its_deadline(tmp_path: Path) -> None:
    settings = {
        "ttft": "30 ms",
        "tpot": "2 ms",
        "tokens_per_chunk": "2",
        "stall_after": "4",
        "stall": "50 ms",
    }
    with serving(tmp_path, **settings) as server:
        before_ns = time.monotonic_ns()
        server.stream(max_tokens=6)
        after_ns = time.monotonic_ns()
        (record,) = server.records(1)
    assert before_ns <= record["arrived_ns"] <= record["ended_ns"] <= after_ns
    due_ns = [record["arrived_ns"] + offset * 1_000_000 for offset in (30, 34, 88)]
    written_ns = [written for written, _ in record["written_ns"]]
    assert [tokens for _, tokens in record["written_ns"]] == [2, 2, 2]
    # a clock may wake us a hair early: the loop rounds to its resolution
    assert all(written >= due - 1000 for written, due in zip(written_ns, due_ns, strict=True))


def test_the_role_chunk_comes_before_the_first_token_is_due(tmp_path: Path) -> None:
    with serving(tmp_path, ttft="10 min") as server, stream_of(server) as client:
        assert b'"role":"assistant"' in client.recv(65536)


def test_a_client_that_leaves_frees_its_slot(tmp_path: Path) -> None:
    with serving(tmp_path, slots="1") as server:
        with stream_of(server, ttft="10 min") as leaving:
            leaving.recv(65536)
            with stream_of(server, role_chunk=False) as waiting:
                assert select.select([waiting], [], [], 0.05)[0] == []
                leaving.close()
                assert waiting.recv(65536).startswith(b"HTTP/1.1 200 ")
        records = server.records(2)
    assert (records[0]["request"], records[0]["outcome"]) == (1, "disconnected")
    assert records[1]["written_ns"][0][0] >= records[0]["ended_ns"]


def test_a_crash_takes_the_process_with_it_in_the_middle_of_a_stream(tmp_path: Path) -> None:
    with serving(tmp_path, crash_after="5") as server:
        assert len(texts(server.stream(max_tokens=3))) == 3
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            server.chat(max_tokens=10, stream=True)
        assert server.process.wait(PATIENCE_S) == 70
        assert [record["outcome"] for record in server.records(2)] == ["answered", "crashed"]
        assert sum(tokens for record in server.records(2) for _, tokens in record["written_ns"]) == 5


def test_a_failed_load_prints_why_and_exits(tmp_path: Path) -> None:
    with launched(tmp_path, crash_on_start="true") as process:
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 3
        assert errors == b"simulated engine: crash_on_start: cannot load the model\n"


def test_while_it_loads_it_is_not_well(tmp_path: Path) -> None:
    with launched(tmp_path, startup_time="10 min") as process:
        announce = tmp_path / "announce"
        until(announce.exists)
        server = Running(process, int(announce.read_text(encoding="utf-8").rpartition(":")[2]), tmp_path / "log")
        for status, _, body in (server.send("/health"), server.chat()):
            assert status == 503
            assert json.loads(body)["error"]["message"] == "Loading model"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_and_well(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path) as server, stream_of(server, ttft="10 min") as client:
        client.recv(65536)
        server.process.send_signal(number)
        assert server.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("setting", [["--set", "ttft=9"], ["--set", "ttft"], ["--set", "nonsense=1"]])
def test_a_bad_setting_stops_it_before_it_starts(tmp_path: Path, setting: list[str]) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest_llmperf.engines.simulated.server_main",
        "--announce",
        str(tmp_path / "a"),
    ]
    ended = subprocess.run([*command, *setting], capture_output=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 2
    assert setting[1].split("=")[0].encode() in ended.stderr.splitlines()[-1]
    assert not (tmp_path / "a").exists()


def test_its_memory_is_really_there(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "large").mkdir()
    with serving(tmp_path / "plain") as plain, serving(tmp_path / "large", memory="96 MiB") as large:
        grown = resident(large) - resident(plain)
    assert 90 * MIB < grown < 110 * MIB


def test_a_request_holds_its_memory_only_while_it_runs(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.stream()
        idle = resident(server)
        with stream_of(server, ttft="10 min", memory_per_request="64 MiB") as client:
            client.recv(65536)
            until(lambda: resident(server) > idle + 60 * MIB)
        until(lambda: resident(server) < idle + 8 * MIB)


def resident(server: Running) -> int:
    return int(psutil.Process(server.process.pid).memory_info().rss)
