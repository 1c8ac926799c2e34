"""Checks that an Ollama measurement is valid. Each returns the reason it is not, or ""."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.engines.ollama.runner import Loaded
    from pytest_llmperf.measurement.request import RequestTiming

# A loaded model is granted in 1 to 10 ms, and loading one takes half a second at least.
_WARM_SECONDS = 0.25
# What two prompts that differ from their first word on may have in common beyond the template.
_CHANCE_TOKENS = 8
_TRUNCATED = 'msg="truncating input prompt"'
_IGNORED = re.compile(r'msg="invalid option provided" option=(\S+)')


def count_loads(requests: Sequence[RequestTiming]) -> int | None:
    """How many requests had to wait until their model was loaded; None if not every answer states its wait."""
    times = [request.server for request in requests if request.error is None]
    known = [time for time in times if time is not None]
    return sum((time.startup or 0) / 1e9 > _WARM_SECONDS for time in known) if len(known) == len(times) else None


def explain_reload(model: str, before: Loaded | None, now: Loaded | None, waited: float, *, derived: str = "") -> str:
    """Why the model counts as loaded again between two looks; ``waited`` is the longest wait of a request for it, in s.

    Its process tells it for sure; if that cannot be seen, the wait does. ``derived`` is the name of a model by which a
    request has the options of the load, "" if there is none.
    """
    if now is None:
        return ""
    if before is None:
        return f"{model} was not loaded when the test began, and a request had to wait for it"
    if before.runner is not None and now.runner is not None:
        if (before.runner.pid, before.runner.started) == (now.runner.pid, now.runner.started):
            return ""
        cause = f"runner {before.runner.pid} → {now.runner.pid}{_context(before, now)}"
    elif before.context != now.context or before.entry.get("digest") != now.entry.get("digest"):
        cause = f"it is another one than before{_context(before, now)}"
    elif waited > _WARM_SECONDS:
        cause = f"a request waited {waited:.2f} s for it"
    else:
        return ""
    advice = ""
    if derived:
        advice = f"; only requests to {derived} (llm_client.model) have the options that it is to be loaded with"
    elif before.context != now.context:
        advice = f"; num_ctx={before.context} as an engine argument gives an app a model with that context"
    return (
        f"{model} was loaded again during the test ({cause}): its runner ended, or a request had other options{advice}"
    )


def _context(before: Loaded, now: Loaded) -> str:
    return "" if before.context == now.context else f", context {before.context} → {now.context}"


def explain_shift(requests: Sequence[RequestTiming], context: int) -> str:
    """Why answers past the context are invalid: the server drops what came first, and goes on."""
    long = [r for r in requests if (r.prompt_tokens or 0) + (r.output_tokens or 0) > context]
    if not long:
        return ""
    return (
        f"{len(long)} of {len(requests)} answers went past the context of {context} tokens, and the server dropped "
        "what came first: a larger num_ctx is an engine argument"
    )


def find_ignored(log: str) -> list[str]:
    """What the server has changed of requests without telling their sender, as its log says."""
    faults = []
    if cut := log.count(_TRUNCATED):
        faults.append(f"the server cut {cut} prompt{'s' if cut > 1 else ''} to fit into the context")
    options = sorted(set(_IGNORED.findall(log)))
    if options:
        faults.append(f"the server ignored options that it does not know: {', '.join(options)}")
    return faults


def explain_reuse(cached: float, requests: Sequence[RequestTiming], template_tokens: int | None) -> str:
    """Why prompts from the runner's cache are a fault; "" if a request had asked for that."""
    if template_tokens is None or not requests or any(request.shared_prefix for request in requests):
        return ""
    if cached <= len(requests) * (template_tokens + _CHANCE_TOKENS):
        return ""
    return (
        f"{cached:.0f} prompt tokens came from the runner's cache, which the test did not ask for "
        "(share_prefix=True does)"
    )
