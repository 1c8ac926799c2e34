"""Looks over the shoulder of vLLM's engine in this process: which request got its tokens in which step."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.vllm_inprocess import REQUEST_PREFIX
from pytest_llmperf.measurement import Chunk, RequestTiming

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@dataclass
class _Life:
    """A request on its way: the engine's own state of it, and the tokens that it has got."""

    state: Any
    sent_ns: int
    counts_prompt: bool
    chunks: list[Chunk] = field(default_factory=list)

    def timing(self, finish_reason: str | None, error: str | None = None) -> RequestTiming:
        return RequestTiming(
            sent_ns=self.sent_ns,
            end_ns=time.monotonic_ns(),
            chunks=tuple(self.chunks),
            output_tokens=sum(chunk.tokens or 0 for chunk in self.chunks),
            prompt_tokens=self.state.prompt_len if self.counts_prompt else 0,
            cached_tokens=self.state.num_cached_tokens or 0,
            finish_reason=finish_reason,
            error=error,
        )


class Steps:
    """Times the requests that a test sends through ``vllm.LLM`` itself; those of ``llm_client`` are timed by it."""

    def __init__(self, llm_engine: Any) -> None:
        self._engine = llm_engine
        self._output = llm_engine.output_processor
        self._add_request, self._process_outputs = llm_engine.add_request, self._output.process_outputs
        llm_engine.add_request, self._output.process_outputs = self._add, self._process
        self._lives: dict[str, _Life] = {}
        self._record: Callable[[RequestTiming], None] | None = None

    def forget(self) -> None:
        """Lets go of the engine."""
        del self._engine.add_request, self._output.process_outputs
        self._engine = self._output = self._add_request = self._process_outputs = None

    @contextmanager
    def recorded(self, record: Callable[[RequestTiming], None] | None) -> Iterator[None]:
        """``record`` is given the timing of each request that ends inside, and of those that have not ended by then."""
        self._record = record
        try:
            yield
        finally:
            for life in self._lives.values():
                self._tell(life.timing(None, "it had not ended when the test did"))
            self._lives.clear()
            self._record = None

    def _add(self, request_id: str, *arguments: Any, **settings: Any) -> Any:
        sent_ns = time.monotonic_ns()
        internal_id = self._add_request(request_id, *arguments, **settings)
        if self._record is not None and not request_id.startswith(REQUEST_PREFIX):
            states = self._output.request_states
            # A request for several answers is one for each of them inside, and none under its own name.
            names = [internal_id] if internal_id in states else [n for n in states if n.endswith(f"_{internal_id}")]
            for number, name in enumerate(names):
                self._lives[name] = _Life(states[name], sent_ns, counts_prompt=number == 0)
        return internal_id

    def _process(self, outputs: Sequence[Any], *arguments: Any, **settings: Any) -> Any:
        processed = self._process_outputs(outputs, *arguments, **settings)
        for output in outputs:
            life = self._lives.get(output.request_id)
            if life is None:
                continue
            if output.new_token_ids:
                at_ns = round(life.state.stats.last_token_ts * 1e9)
                life.chunks.append(Chunk(at_ns, "text", len(output.new_token_ids)))
            if output.request_id not in self._output.request_states:
                del self._lives[output.request_id]
                # Where the engine gives no reason, a stop string was found in the text.
                self._tell(life.timing("stop" if output.finish_reason is None else str(output.finish_reason)))
        return processed

    def _tell(self, timing: RequestTiming) -> None:
        if self._record is not None:
            self._record(timing)
