"""Records, for each step of an in-process vLLM engine, the tokens and KV blocks per request."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.kv_cache.looks import KVPoll
from pytest_llmperf.engines.vllm.offline.requests import REQUEST_PREFIX
from pytest_llmperf.measurement.chunks import Chunk
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.traffic.answers.endings import why_empty, why_unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_llmperf.traffic.client.listener import EndRequest


@dataclass
class _ActiveRequest:
    """A request on its way: the engine's own state of it, once it has one, and the tokens that it has so far."""

    sent_ns: int
    counts_prompt: bool
    state: Any = None
    chunks: list[Chunk] = field(default_factory=list)

    def describe_so_far(self, at_ns: int, error: str) -> RequestTiming:
        """The timing of the request as one that ends at ``at_ns`` with this ``error``. The request goes on."""
        return self.timing(at_ns, None, error)

    def timing(self, at_ns: int, finish_reason: str | None, error: str | None = None) -> RequestTiming:
        """The timing of the request as one that ends at ``at_ns``."""
        prompt = None if self.state is None else self.state.prompt_len
        tokens = sum(chunk.tokens or 0 for chunk in self.chunks)
        error = error or why_unfinished(finish_reason, "the answer")
        return RequestTiming(
            sent_ns=self.sent_ns,
            end_ns=at_ns,
            chunks=tuple(self.chunks),
            output_tokens=tokens,
            prompt_tokens=prompt if self.counts_prompt else 0,
            cached_tokens=self.state.num_cached_tokens or 0 if self.state is not None else None,
            finish_reason=finish_reason,
            # What it finds in the prefix cache is what the test has put there: before each round that is emptied.
            shared_prefix=True,
            error=error or ("" if tokens else why_empty(finish_reason or "", tokens)) or None,
        )


class Steps:
    """Times the requests that a test sends through ``vllm.LLM`` itself; those of ``llm_client`` are timed by it.

    ``counts`` are the engine's own sums since it was loaded, by the names that the reports use; ``looks`` one look at
    its KV cache after each step, while an observation has put a list there. ``blocks`` is how many blocks it hands out.
    """

    def __init__(self, llm_engine: Any, blocks: int) -> None:
        self.counts: Counter[str] = Counter()
        self.ended = False
        self.looks: list[KVPoll] | None = None
        self._blocks = blocks
        self._engine = llm_engine
        self._output = output = llm_engine.output_processor
        self._add_request, self._process_outputs = llm_engine.add_request, output.process_outputs
        self._update = output.update_scheduler_stats
        llm_engine.add_request = self._add
        output.process_outputs, output.update_scheduler_stats = self._process, self._look
        self._active: dict[str, tuple[_ActiveRequest, EndRequest]] = {}
        self._begin: Callable[[_ActiveRequest], EndRequest] | None = None

    def detach(self) -> None:
        """Gives the engine, which was stopped, its own methods back."""
        self.ended = True
        del self._engine.add_request, self._output.process_outputs, self._output.update_scheduler_stats
        self._engine = self._output = self._add_request = self._process_outputs = self._update = None

    @contextmanager
    def recorded(self, begin: Callable[[_ActiveRequest], EndRequest] | None) -> Iterator[None]:
        """Registers each request that begins inside with ``begin``, which returns what takes its timing at its end."""
        self._begin = begin
        try:
            yield
        finally:
            self._begin = None

    def _add(self, request_id: str, *arguments: Any, **settings: Any) -> Any:
        begin = self._begin
        if begin is None or request_id.startswith(REQUEST_PREFIX):
            return self._add_request(request_id, *arguments, **settings)
        first = _ActiveRequest(time.monotonic_ns(), counts_prompt=True)
        end = begin(first)
        try:
            internal_id = self._add_request(request_id, *arguments, **settings)
        except Exception as error:
            cause = " ".join(str(error).split()) or type(error).__name__
            end(first.timing(time.monotonic_ns(), None, f"vllm refused it: {cause}"))
            raise
        states = self._output.request_states
        # A request for several answers is one for each of them inside, and none under its own name.
        names = [internal_id] if internal_id in states else [n for n in states if n.endswith(f"_{internal_id}")]
        for number, name in enumerate(names):
            request = _ActiveRequest(first.sent_ns, counts_prompt=False) if number else first
            request.state = states[name]
            self._active[name] = request, begin(request) if number else end
        return internal_id

    def _process(self, outputs: Sequence[Any], *arguments: Any, **settings: Any) -> Any:
        processed = self._process_outputs(outputs, *arguments, **settings)
        self._count(settings.get("iteration_stats"))
        for output in outputs:
            if output.request_id not in self._active:
                continue
            request, end = self._active[output.request_id]
            if output.new_token_ids:
                at_ns = round(request.state.stats.last_token_ts * 1e9)
                request.chunks.append(Chunk(at_ns, "text", len(output.new_token_ids)))
            if output.request_id not in self._output.request_states:
                del self._active[output.request_id]
                # Where the engine gives no reason, a stop string was found in the text.
                finish_reason = "stop" if output.finish_reason is None else str(output.finish_reason)
                end(request.timing(time.monotonic_ns(), finish_reason))
        return processed

    def _count(self, stats: Any) -> None:
        """From what vLLM feeds its own counters with."""
        if stats is None:
            return
        self.counts["prompt_tokens"] += stats.num_prompt_tokens
        self.counts["generation_tokens"] += stats.num_generation_tokens
        self.counts["preemptions"] += stats.num_preempted_reqs
        for finished in stats.finished_requests:
            self.counts["requests_finished"] += 1
            self.counts["requests_queued"] += 1
            self.counts["queue_seconds"] += finished.queued_time

    def _look(self, stats: Any) -> None:
        self._update(stats)
        if stats is None:
            return
        self.counts["prefix_cache_queries"] += stats.prefix_cache_stats.queries
        self.counts["prefix_cache_hits"] += stats.prefix_cache_stats.hits
        drafts = getattr(stats, "spec_decoding_stats", None)
        if drafts is not None:
            self.counts["drafts"] += drafts.num_drafts
            self.counts["draft_tokens"] += drafts.num_draft_tokens
            self.counts["accepted_tokens"] += drafts.num_accepted_tokens
        if self.looks is not None:
            # vLLM states a share, of all blocks but the one that it keeps empty.
            used = round(stats.kv_cache_usage * (self._blocks - 1))
            now_ns = time.monotonic_ns()
            self.looks.append(KVPoll(now_ns, used, stats.num_running_reqs, stats.num_waiting_reqs))
