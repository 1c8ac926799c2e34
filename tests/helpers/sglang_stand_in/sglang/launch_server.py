"""Stands for SGLang's server: takes its options, logs what it logs, answers as the simulated engine does."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.engines.simulated import server, server_main

if TYPE_CHECKING:
    from pytest_llmperf.engines.simulated.http import Connection

LOG = """\
Load weight end. type=Qwen3ForCausalLM, dtype=torch.bfloat16, avail mem=20.20 GB, mem usage=1.50 GB.
KV Cache is allocated. dtype: torch.bfloat16, #tokens: 65536, K size: 3.50 GB, V size: 3.50 GB
"""


class _Server(server.ScheduledServer):
    async def answer(self, connection: Connection, method: str, path: str, body: bytes, arrived_ns: int) -> None:
        if (method, path) == ("GET", "/get_server_info"):
            connection.respond(200, {"version": "0.5.3"})
        else:
            await super().answer(connection, method, path, body, arrived_ns)


def main() -> None:
    parser = argparse.ArgumentParser(prog="launch_server.py")
    parser.add_argument("--model-path", required=True)
    parser.add_argument("--served-model-name")
    parser.add_argument("--host", choices=["127.0.0.1"], required=True)
    parser.add_argument("--port", required=True)
    parser.add_argument("--disable-radix-cache", action="store_true", required=True)
    parser.add_argument("--mem-fraction-static", type=float)
    asked = parser.parse_args()
    print(LOG, flush=True)
    server_main.ScheduledServer = _Server  # type: ignore[attr-defined]
    settings = [f"model={asked.served_model_name or asked.model_path}", f"port={asked.port}", "ttft=2 ms", "tpot=1 ms"]
    words = [word for setting in settings for word in ("--set", setting)]
    server_main.main(["--announce", str(Path(tempfile.mkdtemp()) / "announce"), *words])


if __name__ == "__main__":
    main()
