"""A ``vllm.LLM`` as far as requests go: a real schedule of steps, and no model."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

SECONDS_PER_STEP = 0.001


@dataclass
class Stats:
    """``RequestStateStats``: the engine's stamps, in seconds of the monotonic clock."""

    num_generation_tokens: int = 0
    first_token_ts: float = 0.0
    last_token_ts: float = 0.0


@dataclass
class State:
    """What the engine keeps of a request under its internal name."""

    external_id: str
    prompt: Mapping[str, Any]
    params: Any
    prompt_len: int
    num_cached_tokens: int = 0
    stats: Stats = field(default_factory=Stats)
    token_ids: list[int] = field(default_factory=list)


class SamplingParams:
    """Holds what it is given."""

    __struct_fields__ = ("max_tokens", "temperature", "seed", "n", "output_kind", "_hidden")

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        if settings.get("temperature", 0) < 0:
            raise ValueError("temperature must be non-negative\nand more")


class OutputProcessor:
    def __init__(self) -> None:
        self.request_states: dict[str, State] = {}

    def process_outputs(self, outputs: Sequence[Any], engine_core_timestamp: float, iteration_stats: Any) -> list[Any]:
        found = []
        for output in outputs:
            state = self.request_states[output.request_id]
            stats = state.stats
            stats.first_token_ts = stats.first_token_ts or engine_core_timestamp
            stats.last_token_ts = engine_core_timestamp
            stats.num_generation_tokens += len(output.new_token_ids)
            text = "".join(f" {token}" for token in output.new_token_ids)
            completion = SimpleNamespace(
                text=text,
                token_ids=output.new_token_ids,
                logprobs=None,
                finish_reason=output.finish_reason and str(output.finish_reason),
            )
            found.append(
                SimpleNamespace(
                    request_id=state.external_id,
                    outputs=[completion],
                    metrics=stats,
                    finished=output.finish_reason is not None,
                    prompt_token_ids=list(range(state.prompt_len)),
                    num_cached_tokens=state.num_cached_tokens,
                )
            )
            if output.finish_reason is not None:
                del self.request_states[output.request_id]
        return found

    def update_scheduler_stats(self, stats: Any) -> None:
        """vLLM looks at its adapters here."""


class FakeEngine:
    """Gives each request one token in each step, ``slots`` of them at a time, and fails once it is told to."""

    def __init__(self, slots: int = 8) -> None:
        self.output_processor = OutputProcessor()
        self.slots = slots
        self.asked: list[Any] = []
        self.aborted: list[str] = []
        self.steps = 0
        self.most_running = 0
        self.failure: Exception | None = None
        self.ending = "length"

    def add_request(self, request_id: str, prompt: Mapping[str, Any], params: Any) -> str:
        length = len(prompt.get("prompt_token_ids") or prompt["prompt"].split())
        if length > 100:
            raise ValueError("the prompt is too long\nby far")
        self.asked.append(params)
        states = self.output_processor.request_states
        answers = params.settings.get("n", 1)
        names = [f"{request_id}-x"] if answers == 1 else [f"{number}_{request_id}-x" for number in range(answers)]
        for name in names:
            states[name] = State(request_id, prompt, params, length)
        return f"{request_id}-x"

    def step(self) -> list[Any]:
        if self.failure is not None:
            raise self.failure
        assert self.output_processor.request_states, "a step with nothing to do would wait for ever"
        time.sleep(SECONDS_PER_STEP)
        self.steps += 1
        running = list(self.output_processor.request_states.items())[: self.slots]
        self.most_running = max(self.most_running, len(running))
        outputs = []
        for name, state in running:
            state.token_ids.append(len(state.token_ids))
            ended = len(state.token_ids) >= state.params.settings["max_tokens"]
            outputs.append(
                SimpleNamespace(
                    request_id=name, new_token_ids=state.token_ids[-1:], finish_reason=self.ending if ended else None
                )
            )
        finished = [SimpleNamespace(queued_time=0.5) for output in outputs if output.finish_reason]
        begun = [state for _, state in running if len(state.token_ids) == 1]
        stats = SimpleNamespace(
            num_prompt_tokens=sum(state.prompt_len for state in begun),
            num_generation_tokens=len(outputs),
            num_preempted_reqs=0,
            finished_requests=finished,
        )
        found = self.output_processor.process_outputs(
            outputs, engine_core_timestamp=time.monotonic(), iteration_stats=stats
        )
        left = list(self.output_processor.request_states.values())
        self.output_processor.update_scheduler_stats(
            SimpleNamespace(
                kv_cache_usage=0.1 * min(len(left), self.slots),
                num_running_reqs=min(len(left), self.slots),
                num_waiting_reqs=max(0, len(left) - self.slots),
                prefix_cache_stats=SimpleNamespace(queries=1, hits=0),
            )
        )
        return found

    def abort_request(self, request_ids: Sequence[str]) -> None:
        self.aborted += request_ids
        states = self.output_processor.request_states
        for name in [name for name, state in states.items() if state.external_id in request_ids]:
            del states[name]


class Tokenizer:
    def apply_chat_template(self, messages: Sequence[Mapping[str, str]], **_: Any) -> str:
        return " ".join(f"<{message['role']}> {message['content']}" for message in messages) + " <assistant>"

    def encode(self, text: str, **_: Any) -> list[int]:
        return list(range(len(text.split())))


class FakeLLM:
    """``defaults`` are the model's own sampling parameters."""

    def __init__(self, slots: int = 8, **defaults: Any) -> None:
        self.llm_engine = FakeEngine(slots)
        self.model_config = SimpleNamespace(get_diff_sampling_param=lambda: defaults)

    def get_tokenizer(self) -> Tokenizer:
        return Tokenizer()


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the parts of vLLM that are imported by name in its place."""
    package, module = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    module.SamplingParams = SamplingParams  # type: ignore[attr-defined]
    module.RequestOutputKind = SimpleNamespace(DELTA="delta")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", package)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", module)
