"""A program ``ollama`` that speaks what a real 0.32.15 was seen to speak, and has bad days by order.

It is started like the real one (``ollama serve``, the same variables of the environment) and starts a ``llama-server``
for each model that it loads, which holds memory. ``LLMPERF_DOUBLE`` in its environment, as JSON, changes what it is:
``version``, ``vram`` (the share of a model on the GPU), ``amx`` (that it is in a buffer for AMX), ``token_seconds``,
``startup_seconds``, ``memory_bytes`` (of runners, by their models' names). Words in a prompt order a bad day:
``[busy]``, ``[repeat]``, ``[kill runner]``, ``[kill server]``, ``[stop N]``. A word is a token.
"""

from __future__ import annotations

import sys
from pathlib import Path

MODEL = "smollm2:135m-q4"
_ROOT = Path(__file__).parents[2]


def install(folder: Path) -> Path:
    """The program, put together in this folder as a real one is: ``bin/ollama``, ``lib/ollama/llama-server``."""
    for path, module in (("bin/ollama", "serving"), ("lib/ollama/llama-server", "runner")):
        script = folder / path
        script.parent.mkdir(parents=True, exist_ok=True)
        start = f"from tests.ollama_double.{module} import main\nmain(sys.argv)\n"
        script.write_text(
            f"#!{sys.executable} -SE\nimport sys\nsys.path.insert(0, {str(_ROOT)!r})\n{start}", encoding="utf-8"
        )
        script.chmod(0o755)
    return folder / "bin" / "ollama"
