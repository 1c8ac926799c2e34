"""vLLM's own metrics: its counters, its KV pool, and how full the pool is."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.engines.kv_cache.looks import KVPoll, KVPool
from pytest_llmperf.measurement.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_llmperf.system.prometheus import PageLook, Sample

COUNTERS = {
    "prompt_tokens": "vllm:prompt_tokens_total",
    "generation_tokens": "vllm:generation_tokens_total",
    "preemptions": "vllm:num_preemptions_total",
    "prefix_cache_queries": "vllm:prefix_cache_queries_total",
    "prefix_cache_hits": "vllm:prefix_cache_hits_total",
    "drafts": "vllm:spec_decode_num_drafts_total",
    "draft_tokens": "vllm:spec_decode_num_draft_tokens_total",
    "accepted_tokens": "vllm:spec_decode_num_accepted_tokens_total",
    "requests_finished": "vllm:request_success_total",
    "requests_queued": "vllm:request_queue_time_seconds_count",
    "queue_seconds": "vllm:request_queue_time_seconds_sum",
    "ttft_requests": "vllm:time_to_first_token_seconds_count",
    "ttft_seconds": "vllm:time_to_first_token_seconds_sum",
    "decode_gaps": "vllm:inter_token_latency_seconds_count",
    "decode_gap_seconds": "vllm:inter_token_latency_seconds_sum",
    "decode_seconds": "vllm:request_decode_time_seconds_sum",
}
NO_DRAFT = "no token was drafted during the test: does the server run with speculative decoding?"
UNKNOWN_SIZE = "the server does not state how large its KV cache is; engine argument kv_cache sets it"
_USAGE, _RUNNING, _WAITING = "vllm:kv_cache_usage_perc", "vllm:num_requests_running", "vllm:num_requests_waiting"
POLLED = (_USAGE, _RUNNING, _WAITING)
# One series for each place in a draft, from 0 on.
_BY_POSITION = "vllm:spec_decode_num_accepted_tokens_per_pos_total"
_AT_POSITION = "accepted_tokens_at_"
_CONFIG = "vllm:cache_config_info"
_EFFECTIVE_SIZE = "effective_attention_block_size"
_STARTED = "process_start_time_seconds"
# When the counters of an engine began: another moment, another server, even where its process is not told apart.
_CREATED = "vllm:generation_tokens_created"


def build_metrics_url(base_url: str, names: Iterable[str] = ()) -> str:
    """The page of a server, or with ``names`` only that part of it, which takes it 1 ms to write instead of 10."""
    # Without the slash the server does not see the query.
    query = "&".join(f"name[]={name}" for name in names)
    return f"{base_url.removesuffix('/v1')}/metrics/{'?' if query else ''}{query}"


def build_polled_url(base_url: str) -> str:
    return build_metrics_url(base_url, POLLED)


def build_requests_url(base_url: str) -> str:
    return build_metrics_url(base_url, (_RUNNING, _WAITING))


def count_requests(samples: Sequence[Sample]) -> int:
    """How many requests all engines behind a server run or have waiting.

    Raises:
        ValueError: it does not state that.
    """
    found = [sample.value for sample in samples if sample.name in (_RUNNING, _WAITING)]
    if not found:
        raise ValueError(f"the server states no {_RUNNING}")
    return round(sum(found))


@dataclass(frozen=True)
class Counters:
    """The counters at one moment, summed over engines and reasons; ``server`` identifies the server."""

    server: tuple[float, ...]
    values: Mapping[str, float]

    @staticmethod
    def of(samples: Sequence[Sample]) -> Counters:
        """Those of :data:`COUNTERS` that the server states.

        Raises:
            ValueError: it states no vLLM counters at all.
        """
        sums: defaultdict[str, float] = defaultdict(float)
        for sample in samples:
            sums[sample.name] += sample.value
            if sample.name == _BY_POSITION and (position := _number(sample.labels.get("position"))) is not None:
                sums[f"{_AT_POSITION}{position + 1}"] += sample.value
        values = {key: sums[name] for key, name in COUNTERS.items() if name in sums}
        values |= {key: value for key, value in sums.items() if key.startswith(_AT_POSITION)}
        if "generation_tokens" not in values:
            raise ValueError(f"it states no {COUNTERS['generation_tokens']}; is it vLLM, without --disable-log-stats?")
        return Counters(tuple(sorted(s.value for s in samples if s.name in (_STARTED, _CREATED))), values)

    def since(self, before: Counters) -> dict[str, float]:
        """What each counter rose by.

        Raises:
            ValueError: it is not the same server, or a counter was set back.
        """
        if self.server != before.server:
            raise ValueError("the server was started afresh during the test: its counters are not those of before")
        rises = {key: value - before.values[key] for key, value in self.values.items() if key in before.values}
        fallen = [COUNTERS.get(key, _BY_POSITION) for key, rise in rises.items() if rise < 0]
        if fallen:
            raise ValueError(f"the server's counter {fallen[0]} was set back during the test")
        return rises


def read_counts(rises: Mapping[str, float]) -> dict[str, Reading]:
    """What its counters say of its prefix cache and of its drafts, by what they rose by over a test; {} without any."""
    if not rises:
        return {}
    queries, hits = rises.get("prefix_cache_queries", 0.0), rises.get("prefix_cache_hits", 0.0)
    hit_rate = Reading.missing("vllm looked up no prompt in its prefix cache during the test")
    if queries > 0:
        hit_rate = Reading(hits / queries, f"{hits:.0f} of {queries:.0f} prompt tokens, as vllm counts them")
    return {"throughput.prefix_hit_rate": hit_rate, **_read_drafts(rises)}


def _read_drafts(rises: Mapping[str, float]) -> dict[str, Reading]:
    drafts, drafted = rises.get("drafts", 0.0), rises.get("draft_tokens", 0.0)
    accepted = rises.get("accepted_tokens", 0.0)
    if not drafts or not drafted:
        missing = Reading.missing(NO_DRAFT)
        return {"throughput.acceptance_rate": missing, "throughput.acceptance_length": missing}
    how = f"{accepted:.0f} of {drafted:.0f} draft tokens in {drafts:.0f} drafts, as vllm counts them"
    return {
        "throughput.acceptance_rate": Reading(accepted / drafted, how, samples=round(drafts)),
        "throughput.acceptance_length": Reading(1 + accepted / drafts, how, samples=round(drafts)),
    }


def list_position_shares(rises: Mapping[str, float]) -> dict[str, float]:
    """Of each place in a draft the share of drafts whose token there was accepted: ``accepted_at_1_share``."""
    drafts = rises.get("drafts", 0.0)
    found = {key.removeprefix(_AT_POSITION): rise for key, rise in rises.items() if key.startswith(_AT_POSITION)}
    return {f"accepted_at_{place}_share": rise / drafts for place, rise in found.items()} if drafts else {}


def is_by_position(key: str) -> bool:
    """Whether a counter is that of one place in a draft, which reports have as a share."""
    return key.startswith(_AT_POSITION)


def read_kv_pool(samples: Sequence[Sample], workers: int = 1, kv_bytes: float | None = None) -> KVPool | None:
    """The KV pool of all engines behind a server; None if the server does not state it.

    Its bytes are the setting ``kv_cache_memory_bytes`` of each worker where it was given, else ``kv_bytes``.
    """
    configs = [sample.labels for sample in samples if sample.name == _CONFIG]
    blocks = [_number(labels.get("num_gpu_blocks")) for labels in configs]
    # What a block holds of each layer that keeps all tokens, where layers differ.
    sizes = [_number(labels.get(_EFFECTIVE_SIZE)) or _number(labels.get("block_size")) for labels in configs]
    if not blocks or None in blocks or None in sizes:
        return None
    total = sum(count for count in blocks if count is not None)
    given = [_number(labels.get("kv_cache_memory_bytes")) for labels in configs]
    if None not in given:
        kv_bytes = sum(size for size in given if size is not None) * float(workers)
    keeps_all = all(labels.get("sliding_window", "None") == "None" for labels in configs)
    return KVPool(total, sizes[0] or 1, kv_bytes, keeps_all)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def read_reserved(pool: KVPool | None) -> Reading:
    """``memory.kv_reserved`` of a pool."""
    if pool is None or pool.total_bytes is None:
        return Reading.missing(UNKNOWN_SIZE)
    how = f"stated by vLLM: {pool.blocks} blocks of {pool.block_tokens} tokens"
    return Reading(pool.total_bytes, how, samples=1)


def make_poll(look: PageLook, pool: KVPool) -> KVPoll:
    """One look at the pool. vLLM states a share, of all blocks but the one that it keeps empty.

    Raises:
        ValueError: the server does not state it.
    """
    engines = look.counts.get(_USAGE, 0)
    if not engines:
        raise ValueError(f"the server states no {_USAGE}")
    used = look.sums[_USAGE] * (pool.blocks / engines - 1)
    return KVPoll(look.at_ns, round(used), look.sums.get(_RUNNING, 0.0), look.sums.get(_WAITING, 0.0), look.took_ns)
