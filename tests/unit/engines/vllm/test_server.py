"""The vllm engine on a script that stands for ``vllm``: how it is called, what is read from it, when it is gone."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.engines.api.state import EngineState, EngineStatus
from pytest_llmperf.engines.registry import create
from pytest_llmperf.engines.vllm import VLLMEngine, first_request
from tests.helpers.captured import captured
from tests.helpers.engine_processes import own_tmp
from tests.helpers.metrics_server import serving
from tests.helpers.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_llmperf.engines.api.engine import Engine

__all__ = ["own_tmp"]
MIB = 2**20

# Stands for vLLM: notes how it was called, says what vLLM says, and answers; GET /lost makes it unwell.
SERVER = """\
import http.server, json, os, sys
from pathlib import Path
arguments = sys.argv[1:]
if any(word.startswith("--no-such-option") for word in arguments):
    sys.exit("vllm: error: unrecognized arguments: --no-such-option=1")
here = Path(sys.argv[0])
called = {"arguments": arguments, "environ": dict(os.environ)}
here.with_name("called.json").write_text(json.dumps(called))
sys.stdout.buffer.write(here.with_name("start.log").read_bytes())
sys.stdout.flush()
Path(os.environ["TMPDIR"], "vllm_dist_1").touch()
health = 200
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global health
        if self.path == "/lost":
            health = 503
            print("(EngineCore pid=2) ERROR 11-25 04:01:02 [core.py:1] ValueError: the real cause", flush=True)
            print("(APIServer pid=1) vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. "
                  "See stack trace (above) for the root cause.\\n" + "INFO and so on\\n" * 30, flush=True)
        self.send_response(health if self.path == "/health" else 200)
        self.end_headers()
        if self.path == "/version":
            self.wfile.write(b'{"version": "0.32.0"}')
        if self.path.startswith("/metrics/"):
            self.wfile.write(here.with_name("metrics.prom").read_bytes())
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        here.with_name("asked.json").write_text(json.dumps([self.path, json.loads(body)]))
        self.send_response(200)
        self.end_headers()
port = next(word.partition("=")[2] for word in arguments if word.startswith("--port="))
http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
"""


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    (tmp_path / "start.log").write_text(captured("vllm-start.log"), encoding="utf-8")
    (tmp_path / "metrics.prom").write_text(captured("vllm-metrics.prom"), encoding="utf-8")
    (tmp_path / "server").write_text(SERVER, encoding="utf-8")
    # A program of its own kind, so that nobody looks for the environment it lives in.
    path = tmp_path / "vllm"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$(dirname "$0")/server" "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "tiny"
    path.mkdir()
    (path / "config.json").write_text("{}", encoding="utf-8")
    return path


@pytest.fixture
def engine(binary: Path, folder: Path, own_tmp: Path) -> Iterator[VLLMEngine]:
    args = {"max_model_len": "512", "kv_cache": "256 MiB"}
    engine = VLLMEngine(EngineSpec("vllm", model=str(folder), binary=str(binary), args=args, startup_timeout=60))
    yield engine
    engine.stop()


def called(binary: Path) -> tuple[list[str], dict[str, str]]:
    noted = json.loads(binary.with_name("called.json").read_text(encoding="utf-8"))
    return noted["arguments"], noted["environ"]


def test_it_is_called_with_the_model_and_the_settings(engine: VLLMEngine, binary: Path, folder: Path) -> None:
    engine.start(lambda _: None)
    arguments, _ = called(binary)
    port = engine.base_url.rpartition(":")[2].removesuffix("/v1")
    assert arguments == [
        *("serve", str(folder), "--host=127.0.0.1", "--enable-prompt-tokens-details", "--disable-uvicorn-access-log"),
        *("--served-model-name=tiny", f"--port={port}", f"--kv-cache-memory-bytes={256 * MIB}", "--max-model-len=512"),
    ]


def test_it_says_nothing_to_the_world_and_keeps_its_temporary_files_apart(engine: VLLMEngine, binary: Path) -> None:
    engine.start(lambda _: None)
    _, environ = called(binary)
    assert (environ["VLLM_NO_USAGE_STATS"], environ["DO_NOT_TRACK"], environ["HF_HUB_OFFLINE"]) == ("1", "1", "1")
    temporary = Path(environ["TMPDIR"])
    assert (temporary / "vllm_dist_1").exists()
    engine.stop()
    assert not temporary.exists()


@pytest.mark.parametrize("pull", [None, True, False])
def test_a_model_of_the_hub_may_be_downloaded_unless_that_is_forbidden(
    binary: Path, own_tmp: Path, monkeypatch: pytest.MonkeyPatch, pull: bool | None
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    spec = EngineSpec("vllm", model="Qwen/Qwen3-0.6B", binary=str(binary), startup_timeout=60, pull=pull)
    engine = VLLMEngine(spec)
    try:
        engine.start(lambda _: None)
        arguments, environ = called(binary)
    finally:
        engine.stop()
    assert engine.model == "Qwen/Qwen3-0.6B"
    assert arguments[1] == "Qwen/Qwen3-0.6B"
    assert environ.get("HF_HUB_OFFLINE") == ("1" if pull is False else None)


def test_what_the_server_states_is_read(engine: VLLMEngine) -> None:
    engine.start(lambda _: None)
    assert (engine.version, engine.model) == ("0.32.0", "tiny")
    assert [device.kind for device in engine.devices] == ["cpu"]
    assert engine.memory().kv_reserved == 256 * MIB
    assert engine.insight.readings()["memory.kv_reserved"].how == "stated by vLLM: 1024 blocks of 128 tokens"
    assert engine.insight.readings()["memory.weights"].reason == (
        "this vLLM does not state it, and its checkpoint does not tell it either"
    )


def test_a_server_on_a_gpu_leaves_its_devices_to_those_who_see_them(engine: VLLMEngine, binary: Path) -> None:
    log = captured("vllm-start.log").replace("device_config=cpu", "device_config=cuda")
    binary.with_name("start.log").write_text(
        f"{log}Model loading took 1.5 GiB memory and 2.1 seconds\n", encoding="utf-8"
    )
    engine.start(lambda _: None)
    assert engine.devices == ()
    assert engine.memory().weights == 1.5 * 2**30
    assert engine.insight.peak_caveat == ""


def test_a_server_that_takes_a_share_of_the_gpu_has_a_peak_that_says_nothing_of_a_test(
    binary: Path, folder: Path, own_tmp: Path
) -> None:
    log = captured("vllm-start.log").replace("device_config=cpu", "device_config=cuda")
    binary.with_name("start.log").write_text(log, encoding="utf-8")
    engine = VLLMEngine(EngineSpec("vllm", model=str(folder), binary=str(binary), startup_timeout=60))
    try:
        engine.start(lambda _: None)
        assert "llm_engine_args['kv_cache'] = '4 GiB'" in engine.insight.peak_caveat
        binary.with_name("start.log").write_text(captured("vllm-start.log"), encoding="utf-8")
        engine.restart()
        assert engine.insight.peak_caveat == ""
    finally:
        engine.stop()


@pytest.mark.parametrize("flags", ["avx512f", "avx512f amx_tile"])
def test_on_a_cpu_with_amx_it_answers_a_request_before_it_is_ready(
    engine: VLLMEngine, binary: Path, monkeypatch: pytest.MonkeyPatch, flags: str
) -> None:
    cpuinfo, asked = binary.with_name("cpuinfo"), binary.with_name("asked.json")
    cpuinfo.write_text(f"flags\t: fpu {flags}\n", encoding="utf-8")
    monkeypatch.setattr(first_request, "_CPUINFO", cpuinfo)
    engine.start(lambda _: None)
    assert asked.exists() == ("amx_tile" in flags)
    if asked.exists():
        path, body = json.loads(asked.read_text(encoding="utf-8"))
        assert (path, body["model"], body["prompt"]) == ("/v1/completions", "tiny", first_request.PROMPT)


def test_what_it_is_doing_is_told_while_it_starts(engine: VLLMEngine) -> None:
    said: list[str] = []
    engine.start(said.append)
    assert said[0] == "vllm: loading tiny"
    assert said[-1].startswith("vllm: tiny ready after ")


def test_an_unknown_argument_is_refused_in_the_servers_own_words(binary: Path, folder: Path, own_tmp: Path) -> None:
    args = {"no_such_option": "1"}
    with pytest.raises(EngineError) as caught:
        create(EngineSpec("vllm", model=str(folder), binary=str(binary), args=args)).start(lambda _: None)
    assert str(caught.value) == "vllm: unrecognized arguments: --no-such-option=1"


def test_it_unloads_by_ending_and_starts_again(engine: VLLMEngine) -> None:
    engine.start(lambda _: None)
    engine.unload()
    assert (engine.pids, engine.state) == ((), EngineState.UNLOADED)
    assert engine.read_status().reason == "vllm was left without its model"
    engine.wake()
    assert engine.pids
    assert engine.read_status() == EngineStatus(EngineState.READY)


def test_a_server_that_has_lost_its_engine_core_is_gone_before_its_process_is(engine: VLLMEngine) -> None:
    import urllib.request

    engine.start(lambda _: None)
    assert engine.read_status().reason == ""
    urllib.request.urlopen(f"{engine.base_url.removesuffix('/v1')}/lost", timeout=PATIENCE_S).close()
    assert engine.read_status().reason == "vllm has lost its engine core: ValueError: the real cause"
    assert engine.pids
    tail = engine.deployment.log_tail().splitlines()
    assert "ValueError: the real cause" in tail[tail.index("…") - 1]
    kept = engine.deployment.keep_log()
    engine.stop()
    assert engine.deployment.log_tail().splitlines() == tail
    assert "the real cause" in Path(kept).read_text(encoding="utf-8")


def test_a_killed_server_is_gone(engine: VLLMEngine) -> None:
    engine.start(lambda _: None)
    os.kill(engine.pids[0], 9)
    until(lambda: engine.read_status().reason == "vllm ended with SIGKILL")


def test_every_prompt_has_a_salt_of_its_own_unless_it_may_share(engine: VLLMEngine) -> None:
    salts = {engine.dialect.prefix_settings(False)["cache_salt"] for _ in range(10)}
    assert len(salts) == 10
    assert engine.dialect.prefix_settings(True) == {}
    assert engine.dialect.stream_options["continuous_usage_stats"] is True


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "vllm needs a model: --llmperf-model=ID, a hub id or a folder"),
        ({"model": "m", "binary": "/no/vllm"}, "vllm: '/no/vllm' cannot be run"),
        ({"model": "m", "args": {"kv_cache": "4 gb"}}, "vllm: engine argument kv_cache='4 gb' has the unknown unit"),
        ({"model": "m", "args": {"port": "x"}}, "port='x' is not a port"),
        ({"url": "http://h:1", "binary": "x"}, "vllm with --llmperf-url starts nothing"),
        ({"url": "http://h:1", "args": {"kv_cache": "1 GiB"}}, "vllm with --llmperf-url: unknown engine argument"),
    ],
)
def test_what_can_never_work_is_refused(fields: dict[str, object], message: str, binary: Path) -> None:
    settings = {"binary": str(binary), **fields} if "url" not in fields else fields
    with pytest.raises(EngineError) as caught:
        create(EngineSpec("vllm", **settings))  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


def attached_to(*pages: tuple[str, str]) -> Engine:
    """Attached to a server with these pages, by the end of their path."""
    bodies = {"/v1/models": '{"data": [{"id": "tiny"}]}', **dict(pages)}
    with serving(lambda: next((body for path, body in bodies.items() if server.paths[-1] == path), "{}")) as server:
        engine = create(EngineSpec("vllm", url=server.url))
        assert engine.deployment.attached
        engine.start(lambda _: None)
    return engine


def test_it_attaches_to_a_server_that_runs() -> None:
    engine = attached_to(("/version", '{"version": "0.32.0"}'), ("/metrics/", captured("vllm-metrics.prom")))
    assert (engine.version, engine.model) == ("0.32.0", "tiny")
    assert engine.insight.readings()["memory.kv_reserved"].value == 256 * MIB


def test_a_server_that_is_not_vllm_is_refused() -> None:
    with pytest.raises(EngineError, match=r"is not a vLLM server: /version does not answer$"):
        attached_to()
    with pytest.raises(
        EngineError,
        match=r"cannot read the metrics of the server at \S+: it states no vllm:generation_tokens_total; is it vLLM",
    ):
        attached_to(("/version", '{"version": "0.32.0"}'), ("/metrics/", "up 1\n"))
