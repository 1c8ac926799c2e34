"""A load script of a team: users who ask an OpenAI-compatible server, and a file with what Locust measured.

    OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_MODEL=tiny locust -f locustfile.py --headless --users 4

It knows nothing of pytest. The first REQUESTS_OF_WARMUP requests are not counted.
"""

from __future__ import annotations

import json
import os
import time
from itertools import count
from pathlib import Path

import gevent
from locust import HttpUser, events, task

WARMUP, COUNTED = int(os.environ.get("REQUESTS_OF_WARMUP", "8")), int(os.environ.get("REQUESTS", "200"))
NUMBERS = count()
measured = {"requests": 0, "output_tokens": 0, "begun": 0.0, "ended": 0.0}


class Reader(HttpUser):
    """Asks again as soon as an answer has come, until all requests have been sent."""

    host = os.environ["OPENAI_BASE_URL"]

    @task
    def ask(self) -> None:
        number = next(NUMBERS)
        if number >= WARMUP + COUNTED:
            self.stop()
            return
        is_counted = number >= WARMUP
        if is_counted and not measured["begun"]:
            measured["begun"] = time.time()
        body = {
            "model": os.environ["OPENAI_MODEL"],
            "prompt": f"Chapter {number}. Once upon a time",
            "max_tokens": 32,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        tokens = 0
        with self.client.post("/completions", json=body, stream=True, catch_response=True) as response:
            for line in response.iter_lines():
                event = line.removeprefix(b"data: ").strip()
                if event and event != b"[DONE]" and (usage := json.loads(event).get("usage")):
                    tokens = usage["completion_tokens"]
        if is_counted:
            measured["requests"] += 1
            measured["output_tokens"] += tokens
            measured["ended"] = time.time()


@events.init.add_listener
def quit_after_the_last_answer(environment, **_: object) -> None:
    def wait() -> None:
        while measured["requests"] < COUNTED:
            gevent.sleep(0.05)
        environment.runner.quit()

    gevent.spawn(wait)


@events.quitting.add_listener
def write_results(environment, **_: object) -> None:
    Path(os.environ["RESULTS"]).write_text(json.dumps(measured), encoding="utf-8")
