"""Whether prompts came from a cache that the test did not fill itself, which makes the time to a first token a lie.

Engines of ours forget all prompts before each round of a test. What an app then takes from the cache is what it has put
there in the same round, and its own affair. Where that cannot be done, as on a server that others use, what counts is
what the server says of each prompt; and where it says nothing, which prompts were sent before.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.prompts import Overlap, PromptHistory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.prompts import Prompt
    from pytest_llmperf.measurement.request import RequestTiming

# A token has about four characters, in no language more than this, unless the whole prompt shows that it has.
_MOST_CHARACTERS_PER_TOKEN = 6.0
_SPREAD = 1.5
# A chat template and a server's own words are in the cache after the first chat, whoever sent it: so many tokens of a
# prompt, and this share of it, say nothing.
_TEMPLATE_TOKENS = 128
_TEMPLATE_SHARE = 0.1
# A beginning shorter than this saves nothing that can be told from noise.
_SHORTEST_CHARACTERS = 256
_SILENT = "no answer says how much of them came from a cache"
_WARM = 'mark the test @llm_cache("warm") if that is what it measures'


def explain_prompt_reuse(measurement: Measurement, *, part: bool = False) -> str:
    """Why the prompts of a measurement were not all read by the engine during the test, in one sentence; else "".

    ``part`` tolerates what the test did not ask for as long as the engine has read most of each prompt.
    """
    if part not in measurement.prompt_faults:
        found = [_explain(one, part=part) for one in measurement.parts or (measurement,)]
        measurement.prompt_faults[part] = "; ".join(dict.fromkeys(text for text in found if text))
    return measurement.prompt_faults[part]


def _explain(measurement: Measurement, *, part: bool) -> str:
    cache, answered = measurement.prompt_cache, [r for r in measurement.requests if r.error is None]
    if cache.as_found:
        return ""
    unasked = [r for r in answered if r.cached_tokens and not r.shared_prefix]
    parts = [cache.fault if answered else ""]
    if not unasked and all(r.cached_tokens is not None and (cache.emptied or not r.cached_tokens) for r in answered):
        return parts[0]
    uses = list(_list_uses(measurement))
    if part:
        heavy = {id(use.request) for use in uses if use.is_taken_from_cache(own=False)}
        unasked = [r for r in unasked if id(r) in heavy]
    parts.append(_describe_unasked(unasked, len(measurement.requests)))
    if not cache.emptied:
        leaks = [use for use in uses if use.request.shared_prefix and use.is_taken_from_cache(own=True)]
        parts.append(_describe_leaks(leaks, cache.reason))
    if cache.cached_tokens != 0:
        silent = [use for use in uses if use.request.cached_tokens is None and not use.prompt.fresh]
        parts.append(_describe_sent_before([use for use in silent if use.was_sent_earlier]))
        if cache.cached_tokens is None:
            again = [use for use in silent if use.is_repeated and not use.was_sent_earlier]
            parts.append(_describe_repeated(again))
    return "; ".join(text for text in parts if text)


@dataclass(frozen=True)
class _Use:
    """A request whose prompt is known, beside those of its round and those of before.

    Attributes:
        prompt: that of the request.
        own: what it has in common with the prompts that were sent before it in the same round.
        earlier: what it has in common with those of before the round that the caches may still hold.
        own_output_tokens: the longest answer to a request of the round that was sent before: a chat goes on from it.
    """

    request: RequestTiming
    prompt: Prompt
    own: Overlap
    earlier: Overlap
    own_output_tokens: int

    def is_taken_from_cache(self, *, own: bool) -> bool:
        """Whether a good part of its prompt came from a cache; with ``own``, beside what its round has put there."""
        request, length = self.request, self.prompt.length
        if not request.cached_tokens or not length:
            return False
        tokens = max(request.prompt_tokens or 0, request.cached_tokens)
        read = tokens - request.cached_tokens
        own_characters, own_tokens = (self.own.most, self.own_output_tokens) if own else (0, 0)
        foreign = request.cached_tokens - tokens * own_characters / length - own_tokens
        if foreign > _TEMPLATE_TOKENS + _TEMPLATE_SHARE * tokens:
            return True
        characters_per_token = max(_MOST_CHARACTERS_PER_TOKEN, _SPREAD * length / tokens)
        return read < (length - own_characters) / characters_per_token - own_tokens - 1

    @property
    def was_sent_earlier(self) -> bool:
        """Whether the prompt, or a good part of it, was sent before the round and not in it."""
        return not self.own.whole and self.earlier.least >= self.own.least and self._repeats(self.earlier, part=True)

    @property
    def is_repeated(self) -> bool:
        """Whether the prompt was sent before in the same round; of llm_client's, a good part of it is enough.

        An app whose chat goes on, or whose prompts begin alike, measures what its users see, and a test that shares
        prompts what it has asked for.
        """
        return not self.prompt.shared and self._repeats(self.own, part=not self.request.shared_prefix)

    def _repeats(self, overlap: Overlap, *, part: bool) -> bool:
        long = overlap.least >= max(_SHORTEST_CHARACTERS, self.prompt.length / 2)
        return overlap.whole or (part and long)


def _list_uses(measurement: Measurement) -> Iterator[_Use]:
    """The requests whose prompts are known, in order of sending, each beside what was sent before it."""
    cache = measurement.prompt_cache
    earlier = PromptHistory(set(cache.earlier.marks))
    number, history, longest = 0, PromptHistory(), 0
    for request in measurement.requests:
        begun = bisect_right(measurement.round_starts_ns, request.sent_ns)
        if begun != number:
            if not cache.emptied:
                earlier.marks |= history.marks
            number, history, longest = begun, PromptHistory(), 0
        prompt = request.prompt
        if prompt is None:
            continue
        if request.error is None:
            yield _Use(request, prompt, history.find_overlap(prompt), earlier.find_overlap(prompt), longest)
        history.add(prompt)
        longest = max(longest, request.output_tokens or 0)


def _describe_unasked(requests: Sequence[RequestTiming], total: int) -> str:
    if not requests:
        return ""
    cached = sum(r.cached_tokens or 0 for r in requests)
    return (
        f"{len(requests)} of {total} requests took {cached} prompt tokens from a cache, "
        "which the test did not ask for (share_prefix=True does)"
    )


def _describe_leaks(uses: Sequence[_Use], reason: str) -> str:
    if not uses:
        return ""
    cached = sum(use.request.cached_tokens or 0 for use in uses)
    why = f" ({reason})" if reason else ""
    return f"{cached} prompt tokens came from a cache as earlier requests had filled it{why}: {_WARM}"


def _describe_sent_before(uses: Sequence[_Use]) -> str:
    if not uses:
        return ""
    return f"{_count_prompts(uses)} sent before this round of the test, and {_SILENT}: {_WARM}"


def _describe_repeated(uses: Sequence[_Use]) -> str:
    if not uses:
        return ""
    return f"{_count_prompts(uses)} sent before in the test, and {_SILENT}: send different ones, or {_WARM}"


def _count_prompts(uses: Sequence[_Use]) -> str:
    return f"{len(uses)} prompt was" if len(uses) == 1 else f"{len(uses)} prompts were"
