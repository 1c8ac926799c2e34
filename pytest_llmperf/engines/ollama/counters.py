"""Reads the counters of a runner, which from Ollama 0.30 on is llama.cpp's server.

It has them if it was started with them, as those of our servers are, and if it can be reached from this host.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.system.prometheus import MetricsPage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.engines.ollama.api import OllamaAPI
    from pytest_llmperf.engines.ollama.runner import Loaded

_CACHED = "llamacpp:prompt_tokens_cached_total"
_GENERATED = "llamacpp:tokens_predicted_total"
_READ = "llamacpp:prompt_tokens_total"
_PROBE_SECONDS = 60.0


@dataclass(frozen=True)
class Counts:
    """Tokens of prompts that came from the cache, generated tokens, and tokens of prompts that had to be read."""

    cached: float
    generated: float
    read: float

    @classmethod
    def of(cls, model: Loaded | None) -> Self | None:
        """The counts of a loaded model so far; None if its runner does not state them."""
        if model is None or model.runner is None or not model.runner.metrics_url:
            return None
        page = MetricsPage(model.runner.metrics_url)
        try:
            values = {sample.name: sample.value for sample in page.read()}
        except OSError:
            return None
        finally:
            page.close()
        names = (_CACHED, _GENERATED, _READ)
        return cls(*(values[name] for name in names)) if values.keys() >= set(names) else None

    def since(self, earlier: Counts) -> Counts:
        return Counts(self.cached - earlier.cached, self.generated - earlier.generated, self.read - earlier.read)

    def plus(self, more: Counts) -> Counts:
        return Counts(self.cached + more.cached, self.generated + more.generated, self.read + more.read)

    def read_hit_rate(self) -> Reading:
        """The share of the prompt tokens that came from the cache."""
        asked = self.cached + self.read
        if asked <= 0:
            return Reading.missing("ollama's runner read no prompt during the test")
        how = f"{self.cached:.0f} of {asked:.0f} prompt tokens, as ollama's runner counts them"
        return Reading(self.cached / asked, how)


def count_template_tokens(api: OllamaAPI, model: str, loaded: Loaded, options: Mapping[str, Any]) -> int | None:
    """The tokens that the template puts before a message: what two new conversations have in common.

    None if the runner does not state them.
    """
    before = Counts.of(loaded)
    for _ in range(2):
        if before is None:
            return None
        messages = [{"role": "user", "content": f"[{secrets.token_hex(4)}] Hello"}]
        body = {"model": model, "messages": messages, "options": {**options, "num_predict": 1}}
        try:
            api.chat(body, _PROBE_SECONDS)
        except EngineError:
            return None
        earlier, before = before, Counts.of(loaded)
    return None if before is None else int(before.since(earlier).cached)
