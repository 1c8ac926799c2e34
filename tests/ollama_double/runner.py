"""The process that holds a model: memory, slots, and a page of counters that ``serve`` adds to."""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_PAGE = 4096
_NAMES = {
    "prompt": "prompt_tokens_total",
    "cached": "prompt_tokens_cached_total",
    "predicted": "tokens_predicted_total",
}
# What ``serve`` adds to, and how often its slots have read a prompt that did not come from there.
COUNTS = dict.fromkeys((*_NAMES, "busy", "emptied"), 0)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/slots":
            number = int(sys.argv[sys.argv.index("-np") + 1])
            slots = [{"id": i, "n_ctx": 4096, "is_processing": i < COUNTS["busy"]} for i in range(number)]
            self._answer(200, json.dumps(slots).encode())
            return
        told = self.path == "/metrics" and os.environ.get("LLAMA_ARG_ENDPOINT_METRICS") == "1"
        lines = [f"llamacpp:{name} {COUNTS[key]}\n" for key, name in _NAMES.items()]
        self._answer(200 if told else 501, "".join(lines).encode() if told else b"not supported")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            self._answer(200, json.dumps({"tokens": list(range(len(body["content"].split())))}).encode())
            return
        if self.path == "/completion":
            number = int(sys.argv[sys.argv.index("-np") + 1])
            if not 0 <= body["id_slot"] < number:
                self._answer(400, b'{"error":{"code":400,"message":"no such slot","type":"invalid_request_error"}}')
                return
            COUNTS["emptied"] += 1
            COUNTS["predicted"] += body["n_predict"]
            self._answer(200, json.dumps({"content": "x", "stop": True}).encode())
            return
        for key, rise in body.items():
            COUNTS[key] += rise
        self._answer(200, json.dumps(COUNTS).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is to be logged."""


def main(argv: list[str]) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", int(argv[argv.index("--port") + 1])), Handler)
    held = bytearray(int(os.environ["LLMPERF_DOUBLE_BYTES"]))
    held[::_PAGE] = b"\1" * len(held[::_PAGE])
    print("ready", flush=True)
    server.serve_forever()
