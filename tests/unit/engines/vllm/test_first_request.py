"""The request that a fresh vLLM gets on a CPU with AMX."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.vllm import first_request
from tests.helpers.fake_vllm import SamplingParams, install
from tests.helpers.scripted_server import ScriptedServer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f amx_bf16 amx_tile amx_int8\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx512f\n", False),
        ("model name\t: amx_tile\nFeatures\t: fp asimd\n", False),
    ],
)
def test_amx_is_a_flag_of_the_processor(tmp_path: Path, text: str, found: bool) -> None:
    (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")
    assert first_request.has_amx(tmp_path / "cpuinfo") is found


def test_a_host_without_cpuinfo_has_no_amx(tmp_path: Path) -> None:
    assert not first_request.has_amx(tmp_path / "none")


def send(status: str) -> tuple[dict[str, object], list[str]]:
    said: list[str] = []
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    with ScriptedServer([[answer]]) as server:
        first_request.send_to_server(server.url, "tiny", 60.0, said.append)
        return server.requests[0].body, said


def test_a_server_answers_one_token_to_a_prompt_of_several() -> None:
    body, said = send("200 OK")
    assert (body["model"], body["prompt"], body["max_tokens"]) == ("tiny", first_request.PROMPT, 1)
    assert len(first_request.PROMPT.split()) > 1
    assert body["cache_salt"]
    assert said == []


def test_a_refusal_is_reported() -> None:
    assert send("401 Unauthorized")[1] == ["vllm: the first request, which a CPU with AMX needs, was refused: HTTP 401"]


def test_a_server_that_fails_is_an_error() -> None:
    with pytest.raises(EngineError, match=r"did not answer its first request: HTTP 500"):
        send("500 Internal Server Error")


@pytest.mark.parametrize(("runner", "prompts"), [("generate", 1), ("pooling", 0)])
def test_an_llm_that_generates_text_is_asked(monkeypatch: pytest.MonkeyPatch, runner: str, prompts: int) -> None:
    install(monkeypatch)
    asked: list[tuple[Any, SamplingParams]] = []

    def generate(prompts: list[Any], params: SamplingParams, *, use_tqdm: bool) -> None:
        assert not use_tqdm
        asked.extend((prompt, params) for prompt in prompts)

    first_request.send_to_llm(SimpleNamespace(model_config=SimpleNamespace(runner_type=runner), generate=generate))
    assert len(asked) == prompts
    for prompt, params in asked:
        assert (prompt["prompt"], params.settings) == (first_request.PROMPT, {"max_tokens": 1})
        assert prompt["cache_salt"]
