from __future__ import annotations

import pytest

from pytest_llmperf.traffic.relay.paths import is_harmless, is_read


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("/v1/chat/completions", True),
        ("/openai/deployments/x/chat/completions", True),
        ("/api/generate", True),
        ("/v1/messages", False),
        ("/completion", False),
        ("/v1/chat/completions/", False),
        ("/v1/chat/completions/render", False),
    ],
)
def test_what_is_read_is_known_by_the_end_of_its_path(path: str, read: bool) -> None:
    assert is_read("POST", path) is read
    assert not is_read("GET", path)


@pytest.mark.parametrize(
    "path",
    ["/v1/embeddings", "/api/embed", "/v2/rerank", "/tokenize", "/v1/messages/count_tokens", "/slots/3", "/api/show"],
)
def test_what_generates_no_text_is_harmless(path: str) -> None:
    assert is_harmless(path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages",
        "/completion",
        "/infill",
        "/generate",
        "/invocations",
        "/v1/audio/transcriptions",
        "/",
        "",
        "/x/y",
    ],
)
def test_whatever_else_may_generate_text(path: str) -> None:
    assert not is_harmless(path)
