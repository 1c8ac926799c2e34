"""Where Ollama is looked for."""

from __future__ import annotations

import pytest

from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.engines.ollama.lookup import find_attached_url, parse_host_url


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1:11500", "http://127.0.0.1:11500"),
        ("box", "http://box:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        (":11500", "http://127.0.0.1:11500"),
        ("[::1]:11500", "http://[::1]:11500"),
        ("[::]", "http://127.0.0.1:11434"),
        ("http://box", "http://box:80"),
        ("https://box", "https://box:443"),
        ("http://box:11434/", "http://box:11434"),
    ],
)
def test_the_variable_of_ollama_is_read_as_ollama_reads_it(host: str, url: str) -> None:
    assert parse_host_url(host) == url


def test_what_is_no_host_is_refused() -> None:
    with pytest.raises(EngineError, match="OLLAMA_HOST=box:port is not an address"):
        parse_host_url("box:port")


def test_an_option_wins_over_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_attached_url(EngineSpec("ollama")) == ""
    monkeypatch.setenv("OLLAMA_HOST", '"box"')
    assert find_attached_url(EngineSpec("ollama")) == "http://box:11434"
    assert find_attached_url(EngineSpec("ollama", url="http://other:1/v1/")) == "http://other:1"
    assert find_attached_url(EngineSpec("ollama", binary="ollama")) == ""
