"""The first request of a fresh vLLM on a CPU with AMX, of which the first prompt must have more than one token.

vLLM 0.32 uses AMX in its attention kernel before it has asked Linux for it, unless a longer prompt came first: a prompt
of one token on a fresh engine ends the process with SIGILL. The request is sent before an engine is ready, so no test
counts it. Its prompt is fixed and has a cache salt of its own, so no other prompt finds it in the prefix cache. The
warm-up of an engine cannot take its place: it can be turned off, and tests of the first request do without it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.lifecycle.http import http_post
from pytest_llmperf.engines.vllm.dialect import DIALECT

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.spec import Progress

PROMPT = "Seven quiet otters fold paper lanterns."
_CPUINFO = Path("/proc/cpuinfo")


def has_amx(cpuinfo: Path | None = None) -> bool:
    """Whether this host's processor has AMX; False if it is not Linux on x86."""
    try:
        text = (cpuinfo or _CPUINFO).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(r"^flags\s*:.*\bamx_tile\b", text, re.MULTILINE) is not None


def send_to_server(base_url: str, model: str, timeout: float, progress: Progress) -> None:
    """Asks a server for one token, within ``timeout`` seconds. A refusal is reported and not raised.

    Raises:
        EngineError: the server did not answer.
    """
    body = {"model": model, "prompt": PROMPT, "max_tokens": 1, **DIALECT.prefix_settings(False)}
    try:
        http_post(f"{base_url}/completions", body, timeout=timeout)
    except HTTPError as error:
        if error.code >= 500:
            raise EngineError(f"vllm did not answer its first request: HTTP {error.code}") from None
        progress(f"vllm: the first request, which a CPU with AMX needs, was refused: HTTP {error.code}")
    except OSError as error:
        raise EngineError(f"vllm did not answer its first request: {getattr(error, 'reason', error)}") from None


def send_to_llm(llm: Any) -> None:
    """Has a ``vllm.LLM`` generate one token. A model that does not generate text is left alone."""
    from vllm.sampling_params import SamplingParams

    if llm.model_config.runner_type == "generate":
        prompt = {"prompt": PROMPT, **DIALECT.prefix_settings(False)}
        llm.generate([prompt], SamplingParams(max_tokens=1), use_tqdm=False)
