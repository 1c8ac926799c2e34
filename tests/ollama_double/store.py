"""The models that a server has: some by nature, others pulled or created, which lie in its folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_CAPTURES = Path(__file__).parents[1] / "helpers" / "captures" / "ollama"
_BORN_WITH = ("smollm2:135m-q4", "qwen:tiny", "gemma:tiny")
_EMBEDS = "embed:tiny"
_SLIDES = "gemma:tiny"


class Store:
    def __init__(self) -> None:
        self.folder = Path(os.environ["OLLAMA_MODELS"])
        (self.folder / "blobs").mkdir(parents=True, exist_ok=True)
        self._list = self.folder / "models.json"

    def models(self) -> dict[str, str]:
        """Each model with the digest of its file."""
        born = {name: hashlib.sha256(name.encode()).hexdigest() for name in (*_BORN_WITH, _EMBEDS)}
        return born | (json.loads(self._list.read_text(encoding="utf-8")) if self._list.exists() else {})

    def find(self, name: str) -> str | None:
        wanted = name if ":" in name else f"{name}:latest"
        return wanted if wanted in self.models() else None

    def add(self, name: str, digest: str) -> None:
        name = name if ":" in name else f"{name}:latest"
        self._list.write_text(json.dumps(self.models() | {name: digest}), encoding="utf-8")

    def blob(self, digest: str) -> Path:
        return self.folder / "blobs" / digest.replace(":", "-")

    def file_of(self, name: str) -> Path:
        return self.blob(f"sha256:{self.models()[name]}")

    def show(self, name: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads((_CAPTURES / "show.json").read_text(encoding="utf-8"))
        shown["modelfile"] = re.sub(r"(?m)^FROM .*$", f"FROM {self.file_of(name)}", shown["modelfile"])
        if name == _SLIDES:
            shown["model_info"]["llama.attention.sliding_window"] = 512
        shown["capabilities"] = ["embedding"] if name == _EMBEDS else ["completion"]
        return shown

    def pull(self, name: str) -> Iterator[dict[str, Any]]:
        """The lines of a real pull; ``full:`` finds the disk full, and only ``hub:`` and ``slow:`` are there."""
        yield {"status": "pulling manifest"}
        if name.startswith("full"):
            layer = "sha256:b179c9523d0e"
            yield {"status": "pulling b179c9523d0e", "digest": layer, "total": 98362432, "completed": 8388608}
            yield {"error": f"write {self.folder}/blobs/sha256-b179c9523d0e-partial: no space left on device"}
        elif not name.startswith("hub"):
            yield {"error": "pull model manifest: file does not exist"}
        else:
            for line in (_CAPTURES / "pull_stream.txt").read_text(encoding="utf-8").splitlines()[3:]:
                if line.strip():
                    yield json.loads(line.strip().split(" ", 1)[1])
            self.add(name, hashlib.sha256(name.encode()).hexdigest())

    def create(self, name: str, files: dict[str, str]) -> Iterator[dict[str, Any]]:
        yield {"status": "parsing GGUF"}
        (digest,) = files.values()
        if not self.blob(digest).exists():
            yield {"error": f"open {self.blob(digest)}: no such file or directory"}
            return
        if not self.blob(digest).read_bytes().startswith(b"GGUF"):
            yield {"error": "invalid file magic"}
            return
        self.add(name, digest.removeprefix("sha256:"))
        yield {"status": "writing manifest"}
        yield {"status": "success"}
