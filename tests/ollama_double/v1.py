"""The same answers in the form of the OpenAI API, as Ollama gives it: without times, and on request with a usage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.ollama_double.answers import Answer

_ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def models(names: Iterable[str]) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "library"} for name in names]}


def error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "not_found_error", "param": None, "code": None}}


def embeddings(name: str, vectors: list[list[float]], tokens: int) -> dict[str, Any]:
    data = [{"object": "embedding", "embedding": vector, "index": index} for index, vector in enumerate(vectors)]
    return {"object": "list", "data": data, "model": name, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def whole(name: str, answer: Answer, text: str, *, chat: bool) -> dict[str, Any]:
    said = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    choice = {"index": 0, **said, "finish_reason": answer.done_reason or None}
    return {**_head(name, chat=chat, stream=False), "choices": [choice], "usage": _usage(answer)}


def events(name: str, answer: Answer, *, chat: bool, usage: bool) -> Iterator[bytes]:
    head = _head(name, chat=chat, stream=True)
    zeros = {"usage": _ZERO} if usage and not chat else {}
    for text in answer:
        said = {"delta": {"role": "assistant", "content": text}} if chat else {"text": text}
        yield _event({**head, "choices": [{"index": 0, **said, "finish_reason": None}], **zeros})
    if not answer.done_reason:
        return
    said = {"delta": {"role": "assistant", "content": ""}} if chat else {"text": ""}
    last = {**head, "choices": [{"index": 0, **said, "finish_reason": answer.done_reason}]}
    if usage and not chat:
        yield _event({**last, "usage": _usage(answer)})
    else:
        yield _event(last)
    if usage and chat:
        yield _event({**head, "choices": [], "usage": _usage(answer)})
    yield b"data: [DONE]\n\n"


def _head(name: str, *, chat: bool, stream: bool) -> dict[str, Any]:
    kind = ("chat.completion.chunk" if stream else "chat.completion") if chat else "text_completion"
    return {"id": "chatcmpl-1", "object": kind, "created": 1795457462, "model": name}


def _usage(answer: Answer) -> dict[str, int]:
    if not answer.done_reason:
        return _ZERO
    prompt, output = len(answer.prompt), answer.output_tokens
    return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}


def _event(content: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(content)}\n\n".encode()
