from __future__ import annotations

import pytest

from pytest_llmperf.traffic.relay.paths import is_harmless, is_read


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("/v1/chat/completions", True),
        ("/openai/deployments/x/chat/completions", True),
        ("/api/generate", True),
        ("/v1/messages", True),
        ("/v1/messages/count_tokens", False),
        ("/v1/threads/1/messages", False),
        ("/completion", True),
        ("/v1/embeddings", True),
        ("/api/embed", True),
        ("/v2/rerank", True),
        ("/embed_all", False),
        ("/v1/chat/completions/", False),
        ("/v1/chat/completions/render", False),
    ],
)
def test_what_is_read_is_known_by_the_end_of_its_path(path: str, read: bool) -> None:
    assert is_read("POST", path) is read
    assert not is_read("GET", path)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/embed_all",
            "/similarity",
            "/tokenize",
            "/v1/messages/count_tokens",
            "/slots/3",
            "/api/show",
        ),
        *("/v1/moderations", "/v1/files", "/v1/files/file-1", "/v1/uploads/1/parts", "/v1/conversations"),
        *(
            "/v1/conversations/conv_1/items",
            "/flush_cache",
            "/reset_prefix_cache",
            "/abort_request",
            "/api/extra/abort",
        ),
        *("/health", "/health_generate", "/healthz", "/metrics", "/ping", "/readyz", "/v1/tokenize", "/v1/detokenize"),
        *("/chat_tokenize", "/get_server_info", "/start_profile", "/pause_generation", "/update_weights_from_disk"),
        *("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/v1/responses/resp_1/cancel", "/v1/vector_stores"),
    ],
)
def test_what_generates_no_text_is_harmless(path: str) -> None:
    assert is_harmless(path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/threads/1/messages",
        "/generate",
        "/invocations",
        "/v1/audio/transcriptions",
        "/",
        "",
        "/x/y",
        "/v1/batches",
        "/v1/threads/1/runs",
        "/v1/audio/speech",
        "/v1/chat/completions/batch",
        "/inference/v1/generate",
    ],
)
def test_whatever_else_may_generate_text(path: str) -> None:
    assert not is_harmless(path)
