"""Which calls of an app the relay reads, by whom, and which of the others say nothing of latency and throughput."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_llmperf.traffic.answers import ollama, openai, openai_responses
from pytest_llmperf.traffic.answers.anthropic import messages
from pytest_llmperf.traffic.answers.inputs.reader import read_embeddings, read_scores
from pytest_llmperf.traffic.answers.llamacpp import completion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_llmperf.measurement.request import Work
    from pytest_llmperf.traffic.answers.answer import Answer, Arrival


@dataclass(frozen=True)
class ReadEndpoint:
    """A protocol that the relay reads.

    Attributes:
        name: what it is called.
        ends: the ends of its paths, whatever stands before them.
        work: what a request has the engine do.
        read: reads an answer.
    """

    name: str
    ends: tuple[str, ...]
    work: Work
    read: Callable[[Arrival], Answer]


# The first one with an end of the path reads its answer.
ENDPOINTS = (
    ReadEndpoint("chat completions", ("/chat/completions",), "text", openai.read),
    ReadEndpoint(
        "completions, also in llama.cpp's own form", ("/completions",), "text", completion.read_any_completion
    ),
    ReadEndpoint("responses", ("/responses",), "text", openai_responses.read),
    ReadEndpoint("Anthropic's messages", ("/v1/messages",), "text", messages.read),
    ReadEndpoint("Ollama's own API", ("/api/chat", "/api/generate"), "text", ollama.read),
    ReadEndpoint("llama.cpp's own API", ("/completion", "/infill"), "text", completion.read),
    ReadEndpoint(
        "embeddings",
        ("/embeddings", "/embedding", "/api/embed", "/embed", "/encode", "/pooling"),
        "embed",
        read_embeddings,
    ),
    ReadEndpoint("ranks, scores and classes", ("/rerank", "/reranking", "/score", "/classify"), "rank", read_scores),
)
"""Everything that is read, in one table: who reads it, and what it gives."""

# Methods that ask a server to do nothing: all others may make it generate text.
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "DELETE"})

HARMLESS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "embeds or classifies texts in a form that is not read": (
            *("/embed_all", "/embed_sparse", "/similarity", "/moderations"),
        ),
        "counts tokens, writes out a template, or takes an answer apart": (
            *("/*tokenize*", "/*tokenise*", "/apply-template", "/count_tokens", "/tokencount", "/input_tokens"),
            *("/chat/completions/render", "/completions/render", "/parse_function_call", "/separate_reasoning"),
        ),
        "describes, fetches or makes a model": (
            *("/api/show", "/api/pull", "/api/push", "/api/create", "/api/copy", "/api/blobs/*"),
            *("/*load_lora_adapter", "/lora-adapters", "/models/load", "/models/unload", "/models/download"),
            *("/update_weights*",),
        ),
        "keeps what is not asked of the model yet": (
            *("/files", "/files/*", "/uploads", "/uploads/*", "/uploads/*/*", "/vector_stores", "/vector_stores/*"),
            *("/vector_stores/*/*", "/conversations", "/conversations/*", "/conversations/*/items"),
            *("/open_session", "/close_session"),
        ),
        "manages the server": (
            *("/flush*cache*", "/reset*cache*", "/clear*cache*", "/abort*", "/cancel", "/responses/*/cancel"),
            *("/slots/*", "/props", "/sleep", "/wake_up", "/load", "/unload", "/start_*", "/stop_*", "/pause*"),
            *("/resume*", "/continue_generation", "/release_memory*", "/configure_logging", "/*elastic_ep"),
        ),
        "tells of the server": (
            *("/health*", "/metrics", "/ping", "/ready*", "/livez", "/liveness", "/version"),
            *("/*server_info", "/*model_info"),
        ),
    }
)
"""The ends of paths on which no text is generated, by what a call there does; ``*`` stands for a part of a path, or for
some of its characters.
"""


def find_endpoint(path: str) -> ReadEndpoint | None:
    """What reads the answer of a ``POST`` to ``path``, without its query; None if it is not read."""
    return next((endpoint for endpoint in ENDPOINTS if path.endswith(endpoint.ends)), None)


def find_work(path: str) -> Work:
    """What a call to ``path``, without its query, has the engine do, as far as that is known: else it may be text."""
    endpoint = find_endpoint(path)
    return "text" if endpoint is None else endpoint.work


def is_read(method: str, path: str) -> bool:
    """Whether the answer of a call to ``path``, without its query, is read."""
    return method == "POST" and find_endpoint(path) is not None


def is_safe(method: str) -> bool:
    """Whether calls with this method generate no text, whatever their path."""
    return method in _SAFE_METHODS


def is_harmless(path: str) -> bool:
    """Whether a call to ``path``, without its query, generates no text."""
    return any(ends_with(path, end) for ends in HARMLESS.values() for end in ends)


def ends_with(path: str, end: str) -> bool:
    """Whether a path ends with these parts, in which ``*`` stands for a part or for some of its characters."""
    parts, wanted = path.rstrip("/").split("/"), end.split("/")[1:]
    return len(parts) > len(wanted) and all(map(fnmatchcase, parts[-len(wanted) :], wanted))
