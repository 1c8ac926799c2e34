"""Others who ask a server one request after another while a test runs."""

from __future__ import annotations

import json
import threading
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.helpers.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def asking(url: str, body: dict[str, Any], number: int = 1) -> Iterator[None]:
    """So many send this again and again; begins when the first answer has come."""
    ended, answers = threading.Event(), []

    def ask() -> None:
        while not ended.is_set():
            request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                answers.append(answer.read())

    threads = [threading.Thread(target=ask) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: answers or not any(thread.is_alive() for thread in threads))
        assert answers
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(PATIENCE_S)
