from __future__ import annotations

import importlib.util
import json
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.engines.api.model_facts import ModelFacts
from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.engines.llamacpp.engine import LlamaCppEngine
from pytest_llmperf.engines.llamacpp.insight import is_only_on_cpu, parse_sizes, parse_slots
from pytest_llmperf.engines.llamacpp.server import LlamaCppServer
from tests.helpers.engine_processes import own_tmp
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["own_tmp"]
MIB = 1 << 20
LOG = """\
0.00.681.843 I load_tensors:   CPU_Mapped model buffer size =    92.10 MiB
0.00.686.262 I llama_context:        CPU  output buffer size =     0.75 MiB
0.00.686.454 I llama_kv_cache:        CPU KV buffer size =    45.00 MiB
0.00.717.075 I llama_kv_cache: size =   45.00 MiB (   512 cells,  30 layers,  4/4 seqs), K (f16):   22.50 MiB
"""

# Stands for llama-server: writes down how it was called, and what it is asked for; claims to be build b1234.
LLAMA_SERVER = f"""\
#!{sys.executable}
import http.server, json, sys
arguments = sys.argv[1:]
with open(__file__ + ".called", "w") as file:
    json.dump(arguments, file)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{{"build_info": "b1234"}}')
print("load_tensors:        CUDA0 model buffer size =  1000.50 MiB", flush=True)
print("llama_kv_cache: size =  256.00 MiB (  4096 cells)", flush=True)
http.server.HTTPServer(("127.0.0.1", int(arguments[arguments.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.fixture(autouse=True)
def wheel(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether xllamacpp is installed, whatever really is."""
    installed = [True]
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: (installed[0] or None) if name == "xllamacpp" else find(name)
    )
    return installed


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    path = tmp_path / "tiny-Q4_1.gguf"
    path.write_bytes(b"GGUF")
    return path


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "llama-server"
    path.write_text(LLAMA_SERVER, encoding="utf-8")
    path.chmod(0o755)
    return path


def refusal(spec: EngineSpec) -> str:
    with pytest.raises(EngineError) as caught:
        LlamaCppEngine.check(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_sizes_are_read_from_the_log() -> None:
    sizes = parse_sizes(LOG)
    assert sizes["memory.weights"].value == pytest.approx(92.1 * MIB)
    assert sizes["memory.kv_reserved"].value == 45 * MIB


def test_weights_and_caches_of_several_devices_are_summed() -> None:
    log = LOG + (
        "load_tensors:        CUDA0 model buffer size =  1000.00 MiB\n"
        "llama_kv_cache_unified: size =   5.00 MiB (  64 cells)\n"
    )
    sizes = parse_sizes(log)
    assert sizes["memory.weights"].value == pytest.approx(1092.1 * MIB)
    assert sizes["memory.kv_reserved"].value == 50 * MIB


def test_what_the_log_does_not_state_is_left_out() -> None:
    assert parse_sizes("") == {}
    assert list(parse_sizes(LOG.splitlines()[0])) == ["memory.weights"]


def test_a_server_is_on_the_cpu_when_all_its_weights_are() -> None:
    repacked = LOG + "load_tensors:   CPU_REPACK model buffer size =    50.00 MiB\n"
    assert is_only_on_cpu(LOG)
    assert is_only_on_cpu(repacked)
    assert not is_only_on_cpu(LOG + "load_tensors:        CUDA0 model buffer size =  1000.00 MiB\n")
    assert not is_only_on_cpu("")


def test_a_model_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "no.gguf"
    assert refusal(EngineSpec("llamacpp", model=str(missing))) == (
        f"llamacpp: there is no model file {str(missing)!r}; --llmperf-model is a path to a GGUF"
    )


def test_a_folder_and_a_file_of_another_kind_are_refused(tmp_path: Path, gguf: Path) -> None:
    other = tmp_path / "model.safetensors"
    other.write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    assert refusal(EngineSpec("llamacpp", model=str(tmp_path))) == (
        f"llamacpp: {str(tmp_path)!r} is a folder; --llmperf-model is a GGUF in it: {gguf.name}"
    )
    assert refusal(EngineSpec("llamacpp", model=str(other))) == (
        f"llamacpp: {str(other)!r} is not a GGUF file: it does not begin with the letters GGUF"
    )


def test_without_the_wheel_it_says_what_to_install(wheel: list[bool]) -> None:
    wheel[0] = False
    assert "pip install 'pytest-llmperf[llamacpp]'" in refusal(EngineSpec("llamacpp"))


def test_the_wheel_is_not_needed_where_a_binary_is_given(wheel: list[bool], binary: Path) -> None:
    wheel[0] = False
    LlamaCppEngine.check(EngineSpec("llamacpp", binary=str(binary)))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"context": "1"}, "unknown engine argument 'context'; it takes ctx_size, parallel"),
        ({"ctx_size": "4k"}, "engine argument ctx_size='4k' is not a whole number"),
        ({"pooling": "sum"}, "engine argument pooling='sum' is none of mean, cls, last, rank, none"),
        ({"port": "99999"}, "port='99999' is not a port"),
    ],
)
def test_a_setting_that_can_never_work_is_refused(args: dict[str, str], message: str) -> None:
    assert message in refusal(EngineSpec("llamacpp", args=args))


def test_a_port_that_is_taken_is_refused_before_the_model_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert f"port={port}: the port cannot be used" in refusal(EngineSpec("llamacpp", args={"port": port}))


def test_a_binary_that_cannot_be_run_is_refused(tmp_path: Path) -> None:
    assert "cannot be run; --llmperf-engine-bin is a llama-server" in refusal(
        EngineSpec("llamacpp", binary=str(tmp_path / "no-server"))
    )


def test_the_model_is_found_wherever_a_test_goes(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(gguf.parent)
    server = LlamaCppServer(EngineSpec("llamacpp", model=gguf.name))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert json.loads(server.command(elsewhere)[-1])["model"] == str(gguf)


def test_a_home_directory_may_be_written_as_a_tilde(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(gguf.parent))
    spec = EngineSpec("llamacpp", model=f"~/{gguf.name}")
    LlamaCppEngine.check(spec)
    assert LlamaCppEngine(spec).model == "tiny-Q4_1"


def test_an_address_makes_it_attach() -> None:
    spec = EngineSpec("llamacpp", url="http://127.0.0.1:1")
    LlamaCppEngine.check(spec)
    assert LlamaCppEngine(spec).deployment.attached
    with pytest.raises(EngineError, match="llamacpp with --llmperf-url starts nothing"):
        LlamaCppEngine.check(EngineSpec("llamacpp", url="http://127.0.0.1:1", binary="x"))


@pytest.mark.usefixtures("own_tmp")
def test_a_binary_is_called_as_llama_server_wants_it_and_read_like_the_wheel(gguf: Path, binary: Path) -> None:
    args = {"ctx_size": "4096", "flash_attn": "on", "no_warmup": "", "pooling": "mean"}
    spec = EngineSpec("llamacpp", model=str(gguf), binary=str(binary), args=args, startup_timeout=60)
    LlamaCppEngine.check(spec)
    engine = LlamaCppEngine(spec)
    try:
        engine.start(lambda _: None)
        called = json.loads(Path(f"{binary}.called").read_text(encoding="utf-8"))
        attached = LlamaCppEngine(EngineSpec("llamacpp", model="x", url=engine.base_url))
        assert (engine.version, engine.model) == ("b1234", "tiny-Q4_1")
        assert engine.memory().weights == 1000.5 * MIB
        assert engine.memory().kv_reserved == 256 * MIB
        with pytest.raises(EngineError, match="is not an OpenAI API"):
            attached.start(lambda _: None)
    finally:
        engine.stop()
    port = called[called.index("--port") + 1]
    threads = called[called.index("--threads") + 1]
    saves = called[called.index("--slot-save-path") + 1]
    assert called == [
        *("--model", str(gguf), "--alias", "tiny-Q4_1", "--host", "127.0.0.1", "--port", port),
        *("--ctx-size", "4096", "--parallel", "4", "--threads", threads, "--cache-ram", "0", "--verbosity", "4"),
        *("--slot-save-path", saves, "--flash-attn", "on", "--no-warmup"),
        *("--pooling", "mean", "--embeddings", "--metrics", "--slots"),
    ]
    assert int(threads) >= 1


def test_its_slots_have_the_kv_cache_in_equal_parts() -> None:
    line = "0.00.874 I srv    load_model: initializing, n_slots = 4, n_ctx_slot = 512, kv_unified = 'false'\n"
    slots = parse_slots(LOG + line)
    assert slots is not None
    assert (slots.context, slots.token_bytes) == (512, 23040)
    several = parse_slots(LOG + "llama_kv_cache_iswa: size =  10.00 MiB ( 512 cells)\n" + line)
    assert several is not None
    assert several.token_bytes is None
    assert several.reason.startswith("the model has several KV caches")


def test_slots_that_share_one_kv_cache_or_are_not_stated_are_not_counted() -> None:
    assert parse_slots(LOG) is None
    assert parse_slots(LOG + "initializing, n_slots = 4, n_ctx_slot = 2048, kv_unified = 'true'\n") is None
    assert parse_slots("initializing, n_slots = 4, n_ctx_slot = 512, kv_unified = 'false'\n") is None


class Slots(HTTPServer):
    """The part of llama.cpp's server that erases slots, with the orders it got."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _SlotsHandler)
        self.orders: list[str] = []
        self.status = 200
        self.slots: object = [{"id": 0}, {"id": 1}]


class _SlotsHandler(BaseHTTPRequestHandler):
    server: Slots

    def do_GET(self) -> None:
        self._answer(200, self.server.slots)

    def do_POST(self) -> None:
        self.server.orders.append(self.path)
        self._answer(self.server.status, {"n_erased": 0})

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


@pytest.fixture
def slots() -> Iterator[Slots]:
    with Slots() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(PATIENCE_S)


def test_all_slots_are_erased(slots: Slots, gguf: Path) -> None:
    server = LlamaCppServer(EngineSpec("llamacpp", model=str(gguf)))
    server.base_url = f"http://127.0.0.1:{slots.server_port}/v1"
    server.empty_prompt_cache()
    assert slots.orders == ["/slots/0?action=erase", "/slots/1?action=erase"]


def test_slots_that_are_not_erased_are_said(slots: Slots, gguf: Path) -> None:
    server = LlamaCppServer(EngineSpec("llamacpp", model=str(gguf)))
    server.base_url = f"http://127.0.0.1:{slots.server_port}/v1"
    slots.status = 501
    with pytest.raises(EngineError, match=r"^llamacpp did not erase its slots: HTTP Error 501"):
        server.empty_prompt_cache()
    slots.slots = {"error": "no slots"}
    with pytest.raises(EngineError, match=r"^llamacpp did not erase its slots: "):
        server.empty_prompt_cache()


def test_prompts_in_host_memory_cannot_be_forgotten(gguf: Path) -> None:
    server = LlamaCppServer(EngineSpec("llamacpp", model=str(gguf), args={"cache_ram": "64"}))
    with pytest.raises(EngineError, match=r"^llamacpp keeps old prompts in host memory \(cache_ram\)$"):
        server.empty_prompt_cache()


@pytest.mark.parametrize(("properties", "name"), [({"model_ftype": "Q4_K - Medium"}, "Q4_K - Medium"), ({}, "")])
def test_a_running_server_states_how_its_weights_are_quantised(
    slots: Slots, properties: dict[str, str], name: str
) -> None:
    slots.slots = properties
    deployment = LlamaCppEngine(EngineSpec("llamacpp", url=f"http://127.0.0.1:{slots.server_port}")).deployment
    assert deployment.read_model_facts() == ModelFacts(quantisation=name)


def test_the_model_of_a_server_is_its_file(gguf: Path) -> None:
    facts = LlamaCppServer(EngineSpec("llamacpp", model=str(gguf))).read_model_facts()
    assert len(facts.digest) == 64
    gguf.write_bytes(b"GGUF and more")
    assert LlamaCppServer(EngineSpec("llamacpp", model=str(gguf))).read_model_facts() != facts
