"""An app that answers questions from a shop's handbook: it knows nothing of pytest, nor that it is measured.

OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_MODEL=tiny python assistant.py "Can I send it back?"
"""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HANDBOOK = [
    "Returns: customers may send an article back within thirty days, and the shop pays for the parcel.",
    "Delivery: parcels leave the shop on the day of the order and take two days, to islands four.",
    "Payment: the shop takes cards and invoices; an invoice is due after fourteen days.",
]


def relevant(question: str) -> str:
    """The paragraph that shares most words with the question."""
    words = set(re.findall(r"\w+", question.lower()))
    return max(HANDBOOK, key=lambda paragraph: len(words & set(re.findall(r"\w+", paragraph.lower()))))


def answer(question: str, base_url: str, api_key: str, model: str) -> Iterator[str]:
    """The answer as it comes, piece by piece."""
    context = f"Answer in one sentence, from this page of the handbook: {relevant(question)}"
    body = {
        "model": model,
        "messages": [{"role": "system", "content": context}, {"role": "user", "content": question}],
        "max_tokens": 16,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {api_key}"}
    request = urllib.request.Request(f"{base_url}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as response:
        for line in response:
            data = line.removeprefix(b"data: ").strip()
            if data and data != b"[DONE]":
                for choice in json.loads(data)["choices"]:
                    yield choice["delta"].get("content") or ""


def main() -> None:
    environ = os.environ
    pieces = answer(sys.argv[1], environ["OPENAI_BASE_URL"], environ.get("OPENAI_API_KEY", ""), environ["OPENAI_MODEL"])
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
