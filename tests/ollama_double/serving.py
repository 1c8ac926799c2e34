"""``ollama serve``: the API over HTTP, as far as it was captured."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.ollama_double import runner, v1
from tests.ollama_double.answers import Answer, fitted, line, words_of
from tests.ollama_double.scheduler import Refusal, Scheduler, check, seconds
from tests.ollama_double.store import EMBEDS, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


# What the captures are of.
VERSION = "0.32.15"
_STAMP = "2026-11-23T18:10:34.984883269Z"
_TYPES = {"stream": bool, "raw": bool, "truncate": bool, "shift": bool}


class Server(ThreadingHTTPServer):
    """Its threads stay, as Ollama's do: the system forgets how long a thread waited for a core once it has ended."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__((host, port), Handler)
        self._accepted: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self.settings: dict[str, Any] = json.loads(os.environ.get("LLMPERF_DOUBLE") or "{}")
        self.version = self.settings.get("version", VERSION)
        self.token_seconds = float(self.settings.get("token_seconds", 0.001))
        self.store = Store(self.settings)
        self.scheduler = Scheduler(self.store, self.settings)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._idle.acquire(blocking=False):
            threading.Thread(target=self._serve, daemon=True).start()
        self._accepted.put((request, client_address))

    def _serve(self) -> None:
        while True:
            try:
                accepted = self._accepted.get(timeout=60)
            except queue.Empty:
                if self._idle.acquire(blocking=False):
                    return
                continue
            self.process_request_thread(*accepted)
            self._idle.release()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_HEAD(self) -> None:
        there = self.server.store.blob(self.path.rpartition("/")[2]).exists()
        self._send(200 if there else 404, b"")

    def do_GET(self) -> None:
        pages: dict[str, Callable[[], object]] = {
            "/api/version": lambda: {"version": self.server.version},
            "/api/tags": self._tags,
            "/api/ps": self._ps,
            "/v1/models": lambda: v1.models(self.server.store.models()),
        }
        if self.path == "/":
            self._send(200, b"Ollama is running", "text/plain; charset=utf-8")
        elif self.path in pages:
            self._json(200, pages[self.path]())
        else:
            self._send(404, b"404 page not found", "text/plain")

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/api/blobs/"):
            self.server.store.blob(self.path.rpartition("/")[2]).write_bytes(data)
            self._send(201, b"")
            return
        try:
            if not data:
                raise Refusal(400, "missing request body")
            self._take(json.loads(data))
        except Refusal as refusal:
            if self.path.startswith("/v1/"):
                self._json(refusal.status, v1.error(str(refusal)))
            else:
                self._json(refusal.status, {"error": str(refusal)})
        except json.JSONDecodeError:
            self._json(400, {"error": "invalid character looking for beginning of object key string"})

    def do_DELETE(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        name = str(body.get("model"))
        if self.path == "/api/delete" and self.server.store.delete(name):
            self._send(200, b"")
        else:
            self._json(404, {"error": f"model '{name}' not found"})

    def _take(self, body: dict[str, Any]) -> None:
        for key, kind in _TYPES.items():
            if key in body and not isinstance(body[key], kind):
                raise Refusal(400, f"json: cannot unmarshal into Go struct field GenerateRequest.{key} of type bool")
        store = self.server.store
        if self.path == "/api/pull":
            self._stream([line(one) for one in store.pull(body["model"])])
        elif self.path == "/api/create":
            name, parameters = body["model"], body.get("parameters") or {}
            created = store.create(name, body["files"], parameters) if "files" in body else None
            self._stream([line(one) for one in created or store.derive(name, body["from"], parameters)])
        elif self.path == "/api/copy":
            found = self._find_model({"model": body["source"]})
            store.add(body["destination"], store.models()[found])
            self._send(200, b"")
        elif self.path == "/api/show":
            self._json(200, store.show(self._find_model(body)))
        elif self.path in ("/api/embed", "/v1/embeddings"):
            self._embed(self._find_model(body), body)
        elif self.path in ("/api/generate", "/api/chat"):
            self._native(self._find_model(body), body)
        elif self.path in ("/v1/completions", "/v1/chat/completions"):
            self._openai(self._find_model(body), body)
        else:
            self._send(404, b"404 page not found", "text/plain")

    def _find_model(self, body: dict[str, Any]) -> str:
        found = self.server.store.find(str(body.get("model")))
        if found is None:
            raise Refusal(404, f"model '{body.get('model')}' not found")
        return str(found)

    # ----------------------------------------------------------------------------------------------------- answers

    def _native(self, name: str, body: dict[str, Any]) -> None:
        scheduler, chat = self.server.scheduler, self.path == "/api/chat"
        keep_alive = seconds(body["keep_alive"]) if "keep_alive" in body else None
        if name == EMBEDS and keep_alive != 0:
            raise Refusal(400, f'"{name}" does not support {"chat" if chat else "generate"}')
        if not body.get("messages" if chat else "prompt"):
            if keep_alive == 0:
                scheduler.expire(name)
            else:
                scheduler.grant(name, check(body.get("options") or {}), keep_alive)
            reason = "unload" if keep_alive == 0 else "load"
            self._json(200, {**self._form(name, "", chat=chat), "done": True, "done_reason": reason})
            return
        answer = self._answer(name, body, check(body.get("options") or {}), keep_alive)
        if body.get("stream", True):
            self._stream(self._lines(name, answer, chat=chat))
            return
        text = "".join(answer)
        if answer.error:
            raise Refusal(500, answer.error)
        ending = answer.last() if answer.done_reason else {"done": False}
        self._json(200, {**self._form(name, text, chat=chat), **ending})

    def _embed(self, name: str, body: dict[str, Any]) -> None:
        """A vector for each text, of two numbers; a word is a token."""
        arrived = time.monotonic()
        keep_alive = seconds(body["keep_alive"]) if "keep_alive" in body else None
        options = {} if self.path.startswith("/v1/") else body.get("options") or {}
        self.server.scheduler.grant(name, check(options), keep_alive)
        if name != EMBEDS and body.get("input"):
            raise Refusal(501, "this model does not support embeddings")
        texts = body["input"] if isinstance(body["input"], list) else [text for text in [body["input"]] if text]
        vectors, tokens = [[0.6, 0.8] for _ in texts], sum(len(text.split()) for text in texts)
        if self.path.startswith("/v1/"):
            self._json(200, v1.embeddings(name, vectors, tokens))
            return
        counts = {"total_duration": round((time.monotonic() - arrived) * 1e9), "prompt_eval_count": tokens}
        given = {key: count for key, count in counts.items() if count}
        self._json(200, {"model": name, "embeddings": vectors, **given})

    def _lines(self, name: str, answer: Answer, *, chat: bool) -> Iterable[bytes]:
        for text in answer:
            yield line({**self._form(name, text, chat=chat), "done": False})
        if answer.error:
            yield line({"error": answer.error})
        elif answer.done_reason:
            yield line({**self._form(name, "", chat=chat), **answer.last()})

    def _answer(
        self, name: str, body: dict[str, Any], options: dict[str, Any], keep_alive: float | None = None
    ) -> Answer:
        arrived = time.monotonic()
        model = self.server.scheduler.grant(name, options, keep_alive, shift=body.get("shift", True))
        granted = time.monotonic() - arrived
        prompt = fitted(words_of(body), model, truncate=body.get("truncate", True))
        answer = Answer(model, prompt, options, self.server.token_seconds, arrived, granted)
        answer.counts_uncached = self.server.version == "0.30.0"
        return answer

    def _openai(self, name: str, body: dict[str, Any]) -> None:
        answer = self._answer(name, body, {"num_predict": body.get("max_tokens") or 0})
        chat = self.path.endswith("/chat/completions")
        if body.get("stream"):
            usage = bool((body.get("stream_options") or {}).get("include_usage"))
            self._stream(v1.events(name, answer, chat=chat, usage=usage), "text/event-stream")
        else:
            self._json(200, v1.whole(name, answer, "".join(answer), chat=chat))

    @staticmethod
    def _form(name: str, text: str, *, chat: bool) -> dict[str, Any]:
        said = {"message": {"role": "assistant", "content": text}} if chat else {"response": text}
        return {"model": name, "created_at": _STAMP, **said}

    # ---------------------------------------------------------------------------------------------------------- pages

    def _tags(self) -> dict[str, Any]:
        models = self.server.store.models().items()
        return {
            "models": [{"name": name, "model": name, "size": 98362745, "digest": one.digest} for name, one in models]
        }

    def _ps(self) -> dict[str, Any]:
        return {
            "models": [
                {
                    "name": model.name,
                    "model": model.name,
                    "size": model.size,
                    "digest": model.digest,
                    "expires_at": model.expires_at,
                    "size_vram": model.size_vram,
                    "context_length": model.context,
                }
                for model in self.server.scheduler.list_loaded()
            ]
        }

    # ----------------------------------------------------------------------------------------------------------- wire

    def _json(self, status: int, content: object) -> None:
        self._send(status, json.dumps(content).encode(), "application/json; charset=utf-8")

    def _send(self, status: int, body: bytes, kind: str = "") -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, lines: Iterable[bytes], kind: str = "application/x-ndjson") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for data in lines:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, text: str, *values: object) -> None:
        print(f"[GIN] {text % values}", flush=True)


def main(argv: list[str]) -> None:
    if argv[1:2] == ["runner"]:
        runner.main(argv)
    if argv[1:] != ["serve"]:
        raise SystemExit("Error: this double serves, and does nothing else")
    host, _, port = os.environ["OLLAMA_HOST"].rpartition(":")
    try:
        server = Server(host, int(port))
    except OSError as error:
        raise SystemExit(f"Error: listen tcp {host}:{port}: bind: {str(error.strerror).lower()}") from None
    # As the real one: whoever ends it in good order has its runners ended as well.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    where = f"{host}:{server.server_port} (version {server.version})"
    stamp = "time=2026-11-23T18:16:01.997Z level=INFO source=routes.go:2008"
    print(f'{stamp} msg="Listening on {where}"', file=sys.stderr, flush=True)
    server.serve_forever(0.01)
    server.scheduler.stop()
