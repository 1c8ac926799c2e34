"""What makes a measurement on Ollama another's, each from what is seen before and after."""

from __future__ import annotations

from pytest_llmperf.engines.ollama.faults import explain_reload, explain_reuse, explain_shift, find_ignored
from pytest_llmperf.engines.ollama.runner import Loaded, Runner
from tests.helpers.streams import stream

ENTRY = {"name": "m", "digest": "a", "context_length": 4096}


def loaded(pid: int | None = None, **changes: object) -> Loaded:
    return Loaded({**ENTRY, **changes}, None if pid is None else Runner(pid, 1.0, ("llama-server",)))


def test_the_same_process_is_no_reload_however_long_the_wait() -> None:
    assert explain_reload("m", loaded(1), loaded(1), 30.0) == ""


def test_another_process_is_a_reload_though_nobody_waited() -> None:
    assert explain_reload("m", loaded(1), loaded(2), 0.0) == (
        "m was loaded again during the test (runner 1 → 2): its runner ended, or a request had other options"
    )
    other = explain_reload("m", loaded(1), loaded(2, context_length=512), 0.0)
    assert "(runner 1 → 2, context 4096 → 512)" in other
    assert other.endswith("; num_ctx=4096 as an engine argument gives an app a model with that context")


def test_where_processes_are_not_seen_another_context_or_a_long_wait_tells() -> None:
    assert "context 4096 → 512" in explain_reload("m", loaded(), loaded(context_length=512), 0.0)
    assert "it is another one than before" in explain_reload("m", loaded(), loaded(digest="b"), 0.0)
    assert "a request waited 0.55 s for it" in explain_reload("m", loaded(), loaded(), 0.55)
    assert explain_reload("m", loaded(), loaded(), 0.009) == ""


def test_a_model_that_came_or_went() -> None:
    assert explain_reload("m", None, loaded(1), 0.0) == (
        "m was not loaded when the test began, and a request had to wait for it"
    )
    assert explain_reload("m", loaded(1), None, 0.0) == ""


def test_an_answer_that_went_past_its_context_was_explain_shift() -> None:
    fits, long = stream(10, prompt_tokens=200, output_tokens=56), stream(10, prompt_tokens=200, output_tokens=57)
    assert explain_shift([fits], 256) == ""
    assert explain_shift([fits, long], 256).startswith(
        "1 of 2 answers went past the context of 256 tokens, and the server"
    )
    assert explain_shift([stream(10)], 256) == ""


def test_what_the_log_says_of_requests_that_were_changed() -> None:
    log = (
        'time=… level=WARN source=x.go:1 msg="truncating input prompt" limit=256 prompt=757\n'
        'time=… level=WARN source=types.go:1007 msg="invalid option provided" option=max_tokens\n'
        'time=… level=WARN source=types.go:1007 msg="invalid option provided" option=ignore_eos\n'
        'time=… level=WARN source=x.go:1 msg="truncating input prompt" limit=256 prompt=758\n'
    )
    assert find_ignored(log) == [
        "the server cut 2 prompts to fit into the context",
        "the server ignored options that it does not know: ignore_eos, max_tokens",
    ]
    assert find_ignored("level=INFO msg=nothing") == []


def test_a_template_may_come_from_the_cache_and_a_prompt_may_not() -> None:
    requests = [stream(10, 20, prompt_tokens=90), stream(10, 20, prompt_tokens=90)]
    assert explain_reuse(2 * 25 + 16, requests, 25) == ""
    assert explain_reuse(90, requests, 25) == (
        "90 prompt tokens came from the runner's cache, which the test did not ask for (share_prefix=True does)"
    )


def test_where_it_was_asked_for_or_nobody_can_tell_nothing_is_said() -> None:
    assert explain_reuse(90, [stream(10, shared_prefix=True)], 25) == ""
    assert explain_reuse(90, [stream(10)], None) == ""
    assert explain_reuse(90, [], 25) == ""
