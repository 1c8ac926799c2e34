"""The models that a server has: some by nature, others pulled, created or copied, which lie in its folder.

The folder has the layout of the real one: ``blobs/sha256-DIGEST`` and ``manifests/HOST/NAMESPACE/MODEL/TAG``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CAPTURES = Path(__file__).parents[1] / "helpers" / "captures" / "ollama"
_BORN_WITH = ("smollm2:135m-q4", "qwen:tiny", "gemma:tiny")
EMBEDS = "embed:tiny"
_SLIDES = "gemma:tiny"
_HOST, _NAMESPACE = "registry.ollama.ai", "library"
_MODEL = "application/vnd.ollama.image.model"
_PARAMS = "application/vnd.ollama.image.params"


@dataclass(frozen=True)
class Stored:
    """A model: the digest of its file, and the options that its requests have unless they say others."""

    blob: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """That of its manifest: the same for copies of it, another one for other parameters."""
        return _digest_of(json.dumps(self.manifest(), sort_keys=True))

    def manifest(self) -> dict[str, Any]:
        layers = [{"mediaType": _MODEL, "digest": f"sha256:{self.blob}"}]
        if self.parameters:
            layers.append({"mediaType": _PARAMS, "digest": f"sha256:{_digest_of(json.dumps(dict(self.parameters)))}"})
        return {"schemaVersion": 2, "layers": layers}


class Store:
    """``settings["parameters"]`` are parameters that models have by nature, by their names."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.folder = Path(os.environ["OLLAMA_MODELS"])
        (self.folder / "blobs").mkdir(parents=True, exist_ok=True)
        given = settings.get("parameters", {})
        self._born = {name: Stored(_digest_of(name), given.get(name, {})) for name in (*_BORN_WITH, EMBEDS)}

    def models(self) -> dict[str, Stored]:
        """Each model by its full name."""
        found = dict(self._born)
        manifests = self.folder / "manifests"
        for path in sorted(manifests.glob("*/*/*/*")):
            host, namespace, model, tag = path.relative_to(manifests).parts
            before = "" if (host, namespace) == (_HOST, _NAMESPACE) else f"{namespace}/"
            found[f"{'' if host == _HOST else f'{host}/'}{before}{model}:{tag}"] = self._read(path)
        return found

    def _read(self, path: Path) -> Stored:
        layers = {
            layer["mediaType"]: layer["digest"] for layer in json.loads(path.read_text(encoding="utf-8"))["layers"]
        }
        parameters = json.loads(self.blob(layers[_PARAMS]).read_text(encoding="utf-8")) if _PARAMS in layers else {}
        return Stored(layers[_MODEL].removeprefix("sha256:"), parameters)

    def find(self, name: str) -> str | None:
        wanted = _full(name)
        return wanted if wanted in self.models() else None

    def add(self, name: str, stored: Stored) -> None:
        if stored.parameters:
            text = json.dumps(dict(stored.parameters))
            self.blob(f"sha256:{_digest_of(text)}").write_text(text, encoding="utf-8")
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(stored.manifest()), encoding="utf-8")

    def delete(self, name: str) -> bool:
        """Whether it was there."""
        path = self._path(name)
        there = path.exists()
        path.unlink(missing_ok=True)
        return there

    def _path(self, name: str) -> Path:
        *where, last = _full(name).split("/")
        model, _, tag = last.partition(":")
        host, namespace = [*[_HOST, _NAMESPACE][: 2 - len(where)], *where]
        return self.folder / "manifests" / host / namespace / model / tag

    def blob(self, digest: str) -> Path:
        return self.folder / "blobs" / digest.replace(":", "-")

    def file_of(self, name: str) -> Path:
        return self.blob(f"sha256:{self.models()[name].blob}")

    def show(self, name: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads((_CAPTURES / "show.json").read_text(encoding="utf-8"))
        parameters = self.models()[name].parameters
        shown["modelfile"] = re.sub(r"(?m)^FROM .*$", f"FROM {self.file_of(name)}", shown["modelfile"])
        shown["modelfile"] += "".join(f"PARAMETER {key} {value}\n" for key, value in parameters.items())
        shown["parameters"] = "\n".join([shown["parameters"], *(f"{key:<30} {v}" for key, v in parameters.items())])
        if self.models()[name].blob == _digest_of(_SLIDES):
            shown["model_info"]["llama.attention.sliding_window"] = 512
        shown["capabilities"] = ["embedding"] if name == EMBEDS else ["completion"]
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
            self.add(name, Stored(_digest_of(name)))

    def create(self, name: str, files: Mapping[str, str], parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        yield {"status": "parsing GGUF"}
        (digest,) = files.values()
        if not self.blob(digest).exists():
            yield {"error": f"open {self.blob(digest)}: no such file or directory"}
            return
        if not self.blob(digest).read_bytes().startswith(b"GGUF"):
            yield {"error": "invalid file magic"}
            return
        self.add(name, Stored(digest.removeprefix("sha256:"), parameters))
        yield {"status": "writing manifest"}
        yield {"status": "success"}

    def derive(self, name: str, source: str, parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Another model of the same file: it has the parameters of its source, and these above them."""
        found = self.find(source)
        if found is None:
            # The real one tries to pull it.
            yield from self.pull(source)
            found = self.find(source)
        if found is not None:
            stored = self.models()[found]
            yield {"status": f"using existing layer sha256:{stored.blob}"}
            self.add(name, Stored(stored.blob, {**stored.parameters, **parameters}))
            yield {"status": "writing manifest"}
            yield {"status": "success"}


def _full(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
