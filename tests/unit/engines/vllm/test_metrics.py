"""vLLM's metrics: read from a page of a real server that had generated 6658 tokens."""

from __future__ import annotations

import pytest

from pytest_llmperf.engines.kv_cache.looks import KVPoll, KVPool
from pytest_llmperf.engines.vllm.metrics import (
    Counters,
    build_metrics_url,
    build_polled_url,
    count_requests,
    list_position_shares,
    make_poll,
    read_counts,
    read_kv_pool,
)
from pytest_llmperf.engines.vllm.observation import select_counts
from pytest_llmperf.system.prometheus import PageLook, Sample, parse
from tests.helpers.captured import captured

PAGE = captured("vllm-metrics.prom")
MIB = 2**20


def page(**values: float) -> list[Sample]:
    """The page with other values for some samples, by the end of their name."""
    samples = parse(PAGE)
    for end, value in values.items():
        assert any(sample.name.endswith(end) for sample in samples)
        samples = [Sample(s.name, s.labels, value) if s.name.endswith(end) else s for s in samples]
    return samples


def test_the_counters_are_summed_over_their_labels() -> None:
    assert Counters.of(page()).values == {
        "prompt_tokens": 474,
        "generation_tokens": 6658,
        "preemptions": 0,
        "prefix_cache_queries": 474,
        "prefix_cache_hits": 0,
        "requests_finished": 53,
        "requests_queued": 53,
        "queue_seconds": pytest.approx(0.0017, abs=1e-4),
        "ttft_requests": 53,
        "ttft_seconds": pytest.approx(4.875, abs=1e-3),
        "decode_gaps": 6605,
        "decode_gap_seconds": pytest.approx(52.895, abs=1e-3),
        "decode_seconds": pytest.approx(52.895, abs=1e-3),
    }


def test_what_they_rose_by_is_what_happened_in_between() -> None:
    before, after = Counters.of(page()), Counters.of(page(generation_tokens_total=6700, num_preemptions_total=2))
    rises = after.since(before)
    assert (rises["generation_tokens"], rises["preemptions"], rises["prompt_tokens"]) == (42, 2, 0)


@pytest.mark.parametrize("mark", ["process_start_time_seconds", "generation_tokens_created"])
def test_a_server_that_was_started_afresh_is_not_the_one_of_before(mark: str) -> None:
    with pytest.raises(ValueError, match="started afresh during the test"):
        Counters.of(page(**{mark: 1.0})).since(Counters.of(page()))


def test_a_counter_that_fell_is_named() -> None:
    with pytest.raises(ValueError, match="counter vllm:generation_tokens_total was set back"):
        Counters.of(page(generation_tokens_total=5)).since(Counters.of(page()))


def test_a_page_of_another_server_is_refused() -> None:
    with pytest.raises(ValueError, match="states no vllm:generation_tokens_total; is it vLLM"):
        Counters.of([Sample("llamacpp:tokens_predicted_total", {}, 1.0)])


def test_the_pool_is_what_the_cache_configuration_says() -> None:
    assert read_kv_pool(page()) == KVPool(1024, 128, 256 * MIB)
    assert read_kv_pool(page(), workers=2) == KVPool(1024, 128, 512 * MIB)


def test_where_its_bytes_were_not_set_the_log_may_state_them() -> None:
    unset = parse(PAGE.replace('kv_cache_memory_bytes="268435456"', 'kv_cache_memory_bytes="None"'))
    assert read_kv_pool(unset, kv_bytes=7.0) == KVPool(1024, 128, 7.0)
    assert read_kv_pool(unset) == KVPool(1024, 128, None)


def test_a_server_that_does_not_state_its_blocks_has_no_pool() -> None:
    assert read_kv_pool([]) is None
    assert read_kv_pool(parse(PAGE.replace('num_gpu_blocks="1024"', 'num_gpu_blocks="None"'))) is None


def look(usage: float | None, engines: int = 1, running: float = 0, waiting: float = 0) -> PageLook:
    values = {"kv_cache_usage_perc": usage, "num_requests_running": running, "num_requests_waiting": waiting}
    sums = {f"vllm:{name}": value for name, value in values.items() if value is not None}
    return PageLook(5, 2, sums, dict.fromkeys(sums, engines))


def test_the_share_in_use_counts_all_blocks_but_the_empty_one() -> None:
    assert make_poll(look(0.25, running=3, waiting=1), KVPool(129, 32)) == KVPoll(5, 32, 3, 1, took_ns=2)


def test_several_engines_behind_one_server_are_added() -> None:
    assert make_poll(look(0.5 + 0.25, engines=2), KVPool(2 * 101, 16)).used_blocks == 75


def test_a_page_without_the_share_cannot_be_polled() -> None:
    with pytest.raises(ValueError, match="states no vllm:kv_cache_usage_perc"):
        make_poll(look(None), KVPool(129, 32))


def test_only_a_part_of_the_page_is_asked_for_while_a_test_runs() -> None:
    assert build_metrics_url("http://h:1/v1") == "http://h:1/metrics/"
    assert build_polled_url("http://h:1/v1") == (
        "http://h:1/metrics/?name[]=vllm:kv_cache_usage_perc&name[]=vllm:num_requests_running"
        "&name[]=vllm:num_requests_waiting"
    )


# --------------------------------------------------------------------------------- drafts and the prefix cache

DRAFTS = """
vllm:spec_decode_num_drafts_total{engine="0",model_name="tiny"} 8.0
vllm:spec_decode_num_drafts_created{engine="0",model_name="tiny"} 1.7959954888489091e+09
vllm:spec_decode_num_draft_tokens_total{engine="0",model_name="tiny"} 18.0
vllm:spec_decode_num_accepted_tokens_total{engine="0",model_name="tiny"} 13.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="tiny",position="0"} 6.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="tiny",position="1"} 4.0
vllm:spec_decode_num_accepted_tokens_per_pos_total{engine="0",model_name="tiny",position="2"} 3.0
"""


def rises_with_drafts() -> dict[str, float]:
    zeros = "\n".join(f"{line.rpartition(' ')[0]} 0.0" for line in DRAFTS.splitlines() if line)
    later = page(prefix_cache_queries_total=874, prefix_cache_hits_total=100)
    return Counters.of([*later, *parse(DRAFTS)]).since(Counters.of([*page(), *parse(zeros)]))


def test_drafts_are_what_the_counters_of_a_real_server_say() -> None:
    found = read_counts(rises_with_drafts())
    assert found["throughput.acceptance_length"].value == 1 + 13 / 8
    assert found["throughput.acceptance_rate"].value == 13 / 18
    assert found["throughput.acceptance_rate"].how == "13 of 18 draft tokens in 8 drafts, as vllm counts them"
    assert found["throughput.prefix_hit_rate"].value == 0.25


def test_each_place_in_a_draft_has_its_share_in_the_reports() -> None:
    stats = select_counts(rises_with_drafts())
    shares = {"accepted_at_1_share": 0.75, "accepted_at_2_share": 0.5, "accepted_at_3_share": 0.375}
    assert {name: value for name, value in stats.items() if "_at_" in name} == shares
    assert list_position_shares({}) == {}


def test_without_drafts_there_is_a_reason_and_without_counters_nothing() -> None:
    found = read_counts({"generation_tokens": 5.0, "prefix_cache_queries": 0.0})
    assert all(reading.value is None and reading.reason for reading in found.values())
    assert len(found) == 3
    assert read_counts({}) == {}


def test_a_place_whose_counter_fell_is_named() -> None:
    before, after = parse(DRAFTS), parse(DRAFTS.replace('position="2"} 3.0', 'position="2"} 1.0'))
    with pytest.raises(ValueError, match="per_pos_total was set back"):
        Counters.of([*page(), *after]).since(Counters.of([*page(), *before]))


def test_requests_that_run_and_that_wait_are_what_it_works_on() -> None:
    assert count_requests(page(num_requests_running=3, num_requests_waiting=2)) == 5
    with pytest.raises(ValueError, match="states no vllm:num_requests_running"):
        count_requests([])
