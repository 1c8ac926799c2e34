"""Which calls of an app the relay reads, and which of the others say nothing of latency and throughput."""

from __future__ import annotations

from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# The ends of the paths on which servers generate tokens and whose answers are read, whatever stands before them.
READ = ("/chat/completions", "/completions", "/responses", "/api/chat", "/api/generate")

# Methods that ask a server to do nothing: all others may make it generate text.
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "DELETE"})

HARMLESS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "embeds, scores or ranks texts": (
            *("/embedding*", "/api/embed*", "/encode", "/rerank*", "/score", "/pooling", "/classify", "/moderations"),
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
            *("/resume*", "/continue_generation", "/release_memory*", "/configure_logging"),
        ),
        "tells of the server": (
            *("/health*", "/metrics", "/ping", "/ready*", "/livez", "/liveness", "/version"),
            *("/*server_info", "/*model_info"),
        ),
    }
)
"""The ends of paths on which no text is generated, by what a call there does; ``*`` stands for a part of a path, or for
some of its characters.

Embeddings and rankings do use the engine. They are the app's own work beside its chats, as its users have it, and what
is measured of the chats stays true.
"""


def is_read(method: str, path: str) -> bool:
    """Whether the answer of a call to ``path``, without its query, is read."""
    return method == "POST" and path.endswith(READ)


def is_safe(method: str) -> bool:
    """Whether calls with this method generate no text, whatever their path."""
    return method in _SAFE_METHODS


def is_harmless(path: str) -> bool:
    """Whether a call to ``path``, without its query, generates no text."""
    parts = path.rstrip("/").split("/")
    for end in (end for ends in HARMLESS.values() for end in ends):
        wanted = end.split("/")[1:]
        if len(parts) > len(wanted) and all(map(fnmatchcase, parts[-len(wanted) :], wanted)):
            return True
    return False
