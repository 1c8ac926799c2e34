from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.budgets.prompt_reuse import explain_prompt_reuse
from pytest_llmperf.measurement.prompts import Prompt, PromptCache, PromptHistory
from pytest_llmperf.measurement.window import Window
from tests.helpers.streams import MS, measured, stream

if TYPE_CHECKING:
    from pytest_llmperf.measurement.request import RequestTiming

ATTACHED = "the server was not started here"
SYSTEM = "You are a helpful clerk of a shop that sells bicycles, and you answer every question in one sentence. " * 20
QUESTION = "Which of the bicycles has the most gears, and what does it cost in the colour that was asked for last? "


def ask(text: str, at_ms: float = 0, *, fresh: bool = False, **fields: Any) -> RequestTiming:
    """A call of an app: four characters are a token, and a template has twenty."""
    tokens = {"prompt_tokens": 20 + len(text) // 4, "output_tokens": 4, "shared_prefix": True}
    prompt = Prompt.of([(text, True)], fresh=fresh)
    return stream(at_ms + 50, at_ms + 90, sent_ms=at_ms, **{"prompt": prompt, **tokens, **fields})


def explain(*requests: RequestTiming, sent: tuple[str, ...] = (), part: bool = False, **cache: Any) -> str:
    history = PromptHistory()
    for text in sent:
        history.add(Prompt.of([(text, True)]))
    starts = cache.pop("round_starts", (0,))
    state = PromptCache(**{"reason": ATTACHED, "earlier": history, **cache})
    return explain_prompt_reuse(measured(*requests, prompt_cache=state, round_starts_ns=starts), part=part)


def is_leak(text: str) -> bool:
    return "came from a cache as earlier requests had filled it (the server was not started here): mark " in text


def is_sent_before(text: str) -> bool:
    return "sent before this round of the test, and no answer says how much of them came from a cache: mark " in text


def is_repeated(text: str) -> bool:
    return "sent before in the test, and no answer says how much of them came from a cache: send different " in text


# --------------------------------------------------------------------------------- answers that say what was cached

TOKENS = 20 + len(SYSTEM + QUESTION) // 4
WHOLE, TEMPLATE = TOKENS - 1, 20


@pytest.mark.parametrize("cached", [0, 1, TEMPLATE, 64])
def test_a_chat_template_in_the_cache_is_no_leak(cached: int) -> None:
    assert explain(ask(SYSTEM + QUESTION, cached_tokens=cached)) == ""


@pytest.mark.parametrize("cached", [WHOLE, TOKENS // 16 * 16, len(SYSTEM) // 4, TOKENS // 2])
def test_what_others_have_filled_the_cache_with_is_a_leak(cached: int) -> None:
    assert is_leak(explain(ask(SYSTEM + QUESTION, cached_tokens=cached)))


@pytest.mark.parametrize("text", ["Say hello to everybody.", "Write one sentence about the ocean.", QUESTION])
def test_a_short_prompt_leaks_too(text: str) -> None:
    tokens = 20 + len(text) // 4
    assert explain(ask(text, cached_tokens=TEMPLATE)) == ""
    assert is_leak(explain(ask(text, cached_tokens=tokens - 1)))


def test_an_emptied_cache_leaks_nothing() -> None:
    assert explain(ask(SYSTEM, cached_tokens=WHOLE), emptied=True, reason="") == ""


def test_a_round_may_use_what_it_has_sent() -> None:
    first, again = ask(SYSTEM + QUESTION, cached_tokens=TEMPLATE), ask(SYSTEM + QUESTION, 100, cached_tokens=WHOLE)
    alike = ask(SYSTEM + "And the fewest?", 200, cached_tokens=20 + len(SYSTEM) // 4)
    assert explain(first, again, alike) == ""


def test_the_next_round_may_not() -> None:
    first, again = ask(SYSTEM + QUESTION, cached_tokens=0), ask(SYSTEM + QUESTION, 100, cached_tokens=WHOLE)
    assert is_leak(explain(first, again, round_starts=(0, 95 * MS)))


@pytest.mark.parametrize("answer_tokens", [4, 1000])
def test_a_chat_goes_on_from_the_answer_too(answer_tokens: int) -> None:
    answer = "It has gears. " * (answer_tokens * 4 // 14)
    before = 20 + len(QUESTION) // 4 + answer_tokens
    first = ask(QUESTION, cached_tokens=0, output_tokens=answer_tokens)
    second = ask(QUESTION + answer + "Why?", 100, cached_tokens=before, prompt_tokens=before + 10)
    assert explain(first, second) == ""


def test_a_prompt_in_another_alphabet_or_of_long_words_is_measured_by_itself() -> None:
    dense = "語" * 2000
    assert explain(ask(dense, prompt_tokens=2020, cached_tokens=20)) == ""
    assert is_leak(explain(ask(dense, prompt_tokens=2020, cached_tokens=2000)))
    thin = " " * 8000
    assert explain(ask(thin, prompt_tokens=220, cached_tokens=20)) == ""


def test_a_prompt_that_was_not_read_is_no_leak() -> None:
    assert explain(stream(50, 90, cached_tokens=500, prompt_tokens=501, shared_prefix=True)) == ""


# ---------------------------------------------------------------------------------- answers that say nothing of it


def test_the_same_prompt_before_the_round_may_be_cached() -> None:
    assert is_sent_before(explain(ask("Hello"), sent=("Hello",)))
    assert is_sent_before(explain(ask("Hello"), ask("Hello", 100), round_starts=(0, 95 * MS)))


def test_a_long_common_beginning_before_the_round_may_be_cached() -> None:
    assert is_sent_before(explain(ask(SYSTEM + QUESTION), sent=(SYSTEM + "And the fewest?",)))
    assert explain(ask("Be brief. " + QUESTION * 9), sent=("Be brief. And the fewest?",)) == ""
    assert explain(ask(QUESTION), sent=(SYSTEM,)) == ""


def test_what_the_round_itself_has_sent_is_its_own() -> None:
    """The first request is the one that may have come from a cache; the second did so of its own."""
    assert explain(ask(SYSTEM + QUESTION), ask(SYSTEM + "And the fewest?", 100)) == ""


def test_the_very_same_prompt_twice_is_not_judged() -> None:
    assert is_repeated(explain(ask("Hello"), ask("Hello", 100)))
    assert is_repeated(explain(ask("Hello"), ask("Hello", 100), emptied=True))
    assert explain(ask("Hello"), ask("Hello again", 100)) == ""


def test_a_chat_that_goes_on_is_judged() -> None:
    turns = [SYSTEM + QUESTION * (number + 1) for number in range(4)]
    assert explain(*(ask(turn, 100 * number) for number, turn in enumerate(turns))) == ""


def test_prompts_of_llm_client_must_differ_in_their_beginnings() -> None:
    first, second = (ask(SYSTEM + end, at, shared_prefix=False) for at, end in ((0, "one"), (100, "two")))
    assert is_repeated(explain(first, second))


def test_a_test_that_shares_its_prompts_knows_that_it_does() -> None:
    prompt = Prompt.of([("Hello", True)], shared=True)
    requests = [ask("Hello", at, prompt=prompt) for at in (0, 100)]
    assert explain(*requests) == ""
    assert is_sent_before(explain(*requests, sent=("Hello",)))


def test_a_request_that_keeps_its_prompt_from_the_cache_may_repeat_it() -> None:
    assert explain(*(ask("Hello", at, fresh=True, shared_prefix=False) for at in (0, 100)), sent=("Hello",)) == ""


def test_an_engine_that_counts_nothing_cached_speaks_for_its_answers() -> None:
    assert explain(ask("Hello"), ask("Hello", 100), sent=("Hello",), cached_tokens=0) == ""


def test_an_engine_that_counts_what_was_cached_leaves_the_round_its_own_repeats() -> None:
    assert explain(ask("Hello"), ask("Hello", 100), cached_tokens=5) == ""
    assert is_sent_before(explain(ask("Hello"), sent=("Hello",), cached_tokens=5))


def test_a_failed_request_has_filled_the_cache_all_the_same() -> None:
    assert is_repeated(explain(ask("Hello", error="cut"), ask("Hello", 100)))
    assert explain(ask("Hello"), ask("Hello", 100, error="cut")) == ""


# ------------------------------------------------------------------------------------------------------ all of them


def test_a_warm_test_wants_it_so() -> None:
    cached = ask(SYSTEM, cached_tokens=WHOLE)
    unasked = ask(SYSTEM, 100, cached_tokens=WHOLE, shared_prefix=False)
    assert explain(cached, unasked, ask("Hello", 200), ask("Hello", 300), sent=("Hello",), as_found=True) == ""


def test_what_llm_client_did_not_ask_for_is_a_fault_of_whatever_size() -> None:
    few = ask(SYSTEM, cached_tokens=1, shared_prefix=False)
    expected = (
        "1 of 1 requests took 1 prompt tokens from a cache, which the test did not ask for (share_prefix=True does)"
    )
    assert explain(few) == expected
    assert explain(few, emptied=True) == expected


def test_for_an_end_to_end_time_it_is_one_if_it_is_the_greater_part() -> None:
    few, whole = (ask(SYSTEM, cached_tokens=n, shared_prefix=False) for n in (TEMPLATE, len(SYSTEM) // 4))
    assert explain(few, part=True) == ""
    assert "which the test did not ask for" in explain(whole, part=True)
    again = ask(SYSTEM, 100, cached_tokens=len(SYSTEM) // 4, shared_prefix=False)
    assert "which the test did not ask for" in explain(few, again, part=True)


def test_a_cache_that_could_not_be_emptied_this_time_is_a_fault() -> None:
    assert explain(ask("Hello", cached_tokens=0), fault="vllm holds blocks") == "vllm holds blocks"
    assert explain(fault="vllm holds blocks") == ""


def test_each_engine_of_a_test_has_its_own_cache() -> None:
    window = Window(0, 1000 * MS)
    leaking = measured(ask(SYSTEM, cached_tokens=WHOLE), prompt_cache=PromptCache(reason=ATTACHED))
    emptied = measured(ask(SYSTEM, cached_tokens=WHOLE), prompt_cache=PromptCache(emptied=True))
    both = measured(*leaking.requests, *emptied.requests, window=window, parts=(leaking, emptied))
    assert is_leak(explain_prompt_reuse(both))
    assert explain_prompt_reuse(measured(*emptied.requests, parts=(emptied, emptied))) == ""
