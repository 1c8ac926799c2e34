"""Which calls of an app the relay reads, and which of the others say nothing of latency and throughput."""

from __future__ import annotations

from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# The ends of the paths on which servers generate tokens and whose answers are read, whatever stands before them.
READ = ("/chat/completions", "/completions", "/responses", "/api/chat", "/api/generate")

HARMLESS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "embeds, scores or ranks texts": (
            *("/embeddings", "/embedding", "/api/embed", "/api/embeddings", "/rerank", "/reranking", "/score"),
            *("/pooling", "/classify"),
        ),
        "counts tokens, or writes out a template": (
            *("/tokenize", "/detokenize", "/apply-template", "/count_tokens", "/input_tokens"),
            *("/chat/completions/render", "/completions/render"),
        ),
        "describes, fetches or makes a model": (
            *("/api/show", "/api/pull", "/api/push", "/api/create", "/api/copy", "/api/blobs/*"),
        ),
        "manages the server": (
            *("/load_lora_adapter", "/unload_lora_adapter", "/lora-adapters", "/models/load", "/models/unload"),
            *("/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache", "/slots/*", "/props"),
            *("/sleep", "/wake_up", "/load", "/unload", "/start_profile", "/stop_profile", "/responses/*/cancel"),
        ),
    }
)
"""The ends of paths on which no text is generated, by what a call there does; ``*`` stands for one part of a path.

Embeddings and rankings do use the engine. They are the app's own work beside its chats, as its users have it, and what
is measured of the chats stays true.
"""


def is_read(method: str, path: str) -> bool:
    """Whether the answer of a call to ``path``, without its query, is read."""
    return method == "POST" and path.endswith(READ)


def is_harmless(path: str) -> bool:
    """Whether a call to ``path``, without its query, generates no text."""
    parts = path.rstrip("/").split("/")
    for end in (end for ends in HARMLESS.values() for end in ends):
        wanted = end.split("/")[1:]
        if len(parts) > len(wanted) and all(map(fnmatchcase, parts[-len(wanted) :], wanted)):
            return True
    return False
