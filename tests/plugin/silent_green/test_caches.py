"""Prompts from a cache: the same test has the same verdict alone, after its twin, rerun, in rounds and on workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.reports.report_file import read_report
from tests.helpers.hostile_server import stream, text, usage
from tests.helpers.simulated_process import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Runs
    from tests.helpers.hostile_server import Asked, HostileServer, Reply
    from tests.helpers.simulated_process import Running

# Read in full, a prompt takes 100 ms; all of it but the last word found in the cache, 10 ms.
CACHING = {"ttft": "100 ms", "prefix_cache": "true"}
ASK = """
import json, urllib.request

PROMPT = "one two three four five six seven eight nine ten"

def ask(url, prompt=PROMPT, path="/completions", usage=True, stream=True):
    body = {"model": "simulated", "prompt": prompt, "messages": [{"role": "user", "content": prompt}], "max_tokens": 2}
    body |= {"stream": stream, "stream_options": {"include_usage": usage}} if stream else {}
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()
"""
TWINS = (
    ASK
    + """
@pytest.mark.latency_budget(ttft_max="50 ms")
@pytest.mark.parametrize("twin", ["one", "other"])
def test_app(llm_client, twin):
    ask(llm_client.base_url)
"""
)
ALONE = ("-k", "one")
WAYS = {
    "alone": ALONE,
    "after its twin": (),
    "after a warm-up": (*ALONE, "--llmperf-warmup=2"),
    "in rounds": (*ALONE, "--llmperf-rounds=3"),
    "in rounds after a warm-up": (*ALONE, "--llmperf-rounds=2", "--llmperf-warmup=1"),
}


def read_tests(pytester: pytest.Pytester) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_report(pytester.path / "out.json")["tests"]
    return found


def list_verdicts(pytester: pytest.Pytester) -> list[str]:
    return [verdict["status"] for test in read_tests(pytester) for verdict in test["verdicts"]]


def count_cached(pytester: pytest.Pytester) -> list[int | None]:
    return [test["measurement"]["requests"]["tokens"]["cached"] for test in read_tests(pytester)]


# ------------------------------------------------------------------------------------------------- engines of ours


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_an_app_finds_nothing_that_was_sent_before(
    runs: Runs, pytester: pytest.Pytester, options: tuple[str, ...]
) -> None:
    runs(TWINS, *options, "--llmperf-report=out.json", **CACHING)
    assert set(list_verdicts(pytester)) == {"FAIL"}
    assert set(count_cached(pytester)) == {0}


def test_a_rerun_finds_nothing_that_its_first_run_sent(runs: Runs, pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_rerunfailures")
    runs.in_subprocess(TWINS, *ALONE, "-p", "rerunfailures", "--reruns=2", "--llmperf-report=out.json", **CACHING)
    assert list_verdicts(pytester) == ["FAIL"]
    assert read_tests(pytester)[0]["measurement"]["attempt"] == 3


def test_workers_that_share_an_engine_find_nothing_of_one_another(runs: Runs, pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    runs.in_subprocess(TWINS, "-n2", "--llmperf-report=out.json", **CACHING)
    assert list_verdicts(pytester) == ["FAIL", "FAIL"]
    assert count_cached(pytester) == [0, 0]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_order_of_tests_changes_no_verdict(runs: Runs, pytester: pytest.Pytester, seed: int) -> None:
    pytest.importorskip("pytest_randomly")
    options = ("-p", "randomly", f"--randomly-seed={seed}", "--llmperf-report=out.json")
    runs(TWINS, *options, **CACHING)
    assert list_verdicts(pytester) == ["FAIL", "FAIL"]


def test_a_kept_engine_has_forgotten_the_run_before(runs: Runs, pytester: pytest.Pytester) -> None:
    for _ in range(2):
        runs(TWINS, *ALONE, "--llmperf-keep-engine=60", "--llmperf-report=out.json", **CACHING)
        assert list_verdicts(pytester) == ["FAIL"]
        assert count_cached(pytester) == [0]
    runs("def test_nothing(llm_engine): ...", **CACHING)  # takes the kept engine over, and ends it


def test_prompts_of_fixtures_are_forgotten_too(runs: Runs, pytester: pytest.Pytester) -> None:
    source = (
        ASK
        + """
@pytest.fixture
def warmed(llm_client):
    ask(llm_client.base_url)

@pytest.mark.latency_budget(ttft_max="50 ms")
def test_app(llm_client, warmed):
    ask(llm_client.base_url)
"""
    )
    runs(source, "--llmperf-report=out.json", **CACHING)
    assert (list_verdicts(pytester), count_cached(pytester)) == (["FAIL"], [0])


def test_what_an_app_sends_twice_in_one_test_is_its_own_affair(runs: Runs, pytester: pytest.Pytester) -> None:
    source = (
        ASK
        + """
@pytest.mark.latency_budget(ttft_max="10 s")
@pytest.mark.parametrize("usage", [True, False])
def test_app(llm_client, usage):
    ask(llm_client.base_url, usage=usage)
    ask(llm_client.base_url, usage=usage)
"""
    )
    runs(source, "--llmperf-report=out.json", **CACHING)
    assert list_verdicts(pytester) == ["PASS", "PASS"]
    # Answers without a count are counted by the engine.
    assert count_cached(pytester) == [9, 9]


def test_what_llm_client_shares_comes_from_its_own_round(runs: Runs, pytester: pytest.Pytester) -> None:
    source = """
@pytest.mark.latency_budget(ttft_max="50 ms")
def test_shared(llm_client):
    llm_client.generate("one two three four five six seven eight nine ten", max_tokens=2, share_prefix=True)
"""
    runs(source, "--llmperf-rounds=3", "--llmperf-report=out.json", **CACHING)
    assert (list_verdicts(pytester), count_cached(pytester)) == (["FAIL"], [0])


# -------------------------------------------------------------------------------------------------- @llm_cache("warm")


def test_a_warm_test_finds_what_was_sent_before(runs: Runs, pytester: pytest.Pytester) -> None:
    source = (
        ASK
        + """
pytestmark = pytest.mark.llm_cache("warm")

@pytest.mark.latency_budget(ttft_max="10 s", e2e_max="10 s")
@pytest.mark.parametrize("number", [1, 2])
def test_warm(llm_client, number):
    ask(llm_client.base_url)

@pytest.mark.llm_cache("cold")
@pytest.mark.latency_budget(ttft_max="10 s")
def test_cold(llm_client):
    ask(llm_client.base_url)
"""
    )
    runs(source, "--llmperf-report=out.json", "--llmperf-strict", **CACHING).assert_outcomes(passed=3)
    assert count_cached(pytester) == [0, 9, 0]


def test_a_warm_up_fills_the_cache_of_a_warm_test(runs: Runs, pytester: pytest.Pytester) -> None:
    source = TWINS.replace("@pytest.mark.parametrize", '@pytest.mark.llm_cache("warm")\n@pytest.mark.parametrize')
    runs(source, *ALONE, "--llmperf-warmup=1", "--llmperf-report=out.json", **CACHING)
    assert count_cached(pytester) == [9]


BAD_MARKERS = {
    "no state": "()",
    "no such state": "('hot')",
    "not a string": "(True)",
    "two states": "('cold', 'warm')",
    "a name": "(state='warm')",
}


@pytest.mark.parametrize("arguments", BAD_MARKERS.values(), ids=BAD_MARKERS)
def test_a_bad_state_is_an_error_of_its_test(runs: Runs, arguments: str) -> None:
    source = f"""
    @pytest.mark.llm_cache{arguments}
    def test_bad(llm_client): ...

    def test_good(): ...
    """
    result = runs(source)
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines([f"*test_bad: @llm_cache{arguments}: it takes one state, 'cold' or 'warm'"])


# ------------------------------------------------------------------------------------- servers that are not emptied


@pytest.fixture
def attached(tmp_path: Path) -> Iterator[Running]:
    with serving(tmp_path, **CACHING) as server:
        yield server


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Running]:
    with serving(tmp_path, states_cached="false", **CACHING) as server:
        yield server


def options(server: Running) -> tuple[str, ...]:
    url = f"--llmperf-url=http://127.0.0.1:{server.port}"
    return ("--llm-engine=openai", url, "--llmperf-report=out.json")


EASY = TWINS.replace('ttft_max="50 ms"', 'ttft_max="10 s", e2e_max="10 s"')


def test_of_a_server_that_says_so_a_leak_is_invalid(runs: Runs, pytester: pytest.Pytester, attached: Running) -> None:
    result = runs.plain(EASY, *options(attached))
    assert list_verdicts(pytester) == ["PASS", "PASS", "INVALID", "INVALID"]
    result.stdout.fnmatch_lines(
        [
            "*INVALID*9 prompt tokens came from a cache as earlier requests had filled it (the server was not started "
            'here, and what it caches serves its other users): mark the test @llm_cache("warm")*'
        ]
    )


@pytest.mark.parametrize("more", [("--llmperf-warmup=1",), ("--llmperf-rounds=2",)])
def test_of_a_server_that_says_so_a_warm_up_or_round_leaks_too(
    runs: Runs, pytester: pytest.Pytester, attached: Running, more: tuple[str, ...]
) -> None:
    runs.plain(EASY, *options(attached), *ALONE, *more)
    assert list_verdicts(pytester) == ["INVALID", "INVALID"]


@pytest.mark.parametrize(
    "more", [(), ("--llmperf-warmup=1", *ALONE), ("--llmperf-rounds=2", *ALONE)], ids=["twin", "warm-up", "rounds"]
)
def test_of_a_silent_server_a_prompt_that_was_sent_before_is_invalid(
    runs: Runs, pytester: pytest.Pytester, silent: Running, more: tuple[str, ...]
) -> None:
    result = runs.plain(EASY, *options(silent), *more)
    assert list_verdicts(pytester)[-2:] == ["INVALID", "INVALID"]
    assert list_verdicts(pytester)[:-2] in ([], ["PASS", "PASS"])
    result.stdout.fnmatch_lines(["*INVALID*1 prompt was sent before this round of the test, and no answer says how *"])


@pytest.mark.parametrize("way", ["ask(llm_client.base_url)", "llm_client.generate(PROMPT, max_tokens=2)"])
def test_of_a_silent_server_a_prompt_of_a_fixture_is_one_that_was_sent_before(
    runs: Runs, pytester: pytest.Pytester, silent: Running, way: str
) -> None:
    source = (
        ASK
        + f"""
@pytest.fixture
def warmed(llm_client):
    {way}

@pytest.mark.latency_budget(ttft_max="10 s")
def test_app(llm_client, warmed):
    {way}
"""
    )
    runs.plain(source, *options(silent))
    assert list_verdicts(pytester) == ["INVALID"]


def test_of_a_silent_server_what_counts_for_no_test_was_sent_all_the_same(
    runs: Runs, pytester: pytest.Pytester, silent: Running
) -> None:
    source = """
import contextlib, threading, time
from pytest_llmperf import workload

SLOW = {"ttft": "1 ms", "tpot": "20 ms"}

def start(ask, *arguments, **settings):
    def work():
        with contextlib.suppress(Exception):  # the run may end before the answer
            ask(*arguments, simulate=SLOW, **settings)

    threading.Thread(target=work, daemon=True).start()
    time.sleep(0.1)

@pytest.fixture
def left(llm_client):
    yield
    llm_client.generate("sent by a teardown", max_tokens=2)
    llm_client.run(workload(["sent by a load of a teardown"], output_tokens=2), concurrency=1)

def test_leaves_them(llm_client, left):
    start(llm_client.generate, "in flight", max_tokens=60)
    start(llm_client.chat, "in flight in a chat", max_tokens=60)
    start(llm_client.run, ["in flight in a list"], max_tokens=60)
    start(llm_client.run, workload(["in flight in a load"], output_tokens=200), concurrency=1)
    time.sleep(0.3)

PROMPTS = ["in flight", "in flight in a chat", "in flight in a list", "in flight in a load", "sent by a teardown",
           "sent by a load of a teardown", "new"]

@pytest.mark.latency_budget(ttft_max="10 s")
@pytest.mark.parametrize("prompt", PROMPTS)
def test_after_them(llm_client, prompt):
    llm_client.generate(prompt, max_tokens=2)
"""
    runs.plain(source, *options(silent))
    assert list_verdicts(pytester) == [*["INVALID"] * 6, "PASS"]


def test_what_still_runs_may_have_filled_a_cache_that_was_emptied(runs: Runs, pytester: pytest.Pytester) -> None:
    source = (
        ASK
        + """
import contextlib, threading, time
from pytest_llmperf import workload
LONG = " ".join(f"word{number}" for number in range(300))

def test_leaves_it(llm_client):
    def load():
        with contextlib.suppress(Exception):  # the run may end before the load
            llm_client.run(workload([LONG] * 200, output_tokens=2), share_prefix=True, concurrency=1)

    threading.Thread(target=load, daemon=True).start()

@pytest.mark.latency_budget(ttft_max="10 s")
def test_beside_it(llm_client):
    time.sleep(0.5)
    ask(llm_client.base_url, LONG)
"""
    )
    runs(source, "--llmperf-report=out.json", **CACHING)
    assert list_verdicts(pytester) == ["INVALID"]


def test_workers_know_what_others_have_sent_to_a_silent_server(
    runs: Runs, pytester: pytest.Pytester, silent: Running
) -> None:
    pytest.importorskip("xdist")
    runs.write(EASY)
    pytester.runpytest_subprocess(*options(silent), "-n2")
    assert sorted(list_verdicts(pytester)) == ["INVALID", "INVALID", "PASS", "PASS"]


def test_of_a_silent_server_different_prompts_are_valid(runs: Runs, pytester: pytest.Pytester, silent: Running) -> None:
    source = (
        ASK
        + """
@pytest.mark.latency_budget(ttft_max="10 s", e2e_max="10 s")
@pytest.mark.parametrize("number", range(3))
def test_app(llm_client, number):
    turns = [f"What is {number} and {turn}?" for turn in range(3)]
    for turn in range(3):
        ask(llm_client.base_url, " ".join(turns[: turn + 1]), "/chat/completions")
"""
    )
    runs.plain(source, *options(silent), "--llmperf-strict").assert_outcomes(passed=3)


def test_a_warm_test_of_an_attached_server_is_valid(runs: Runs, attached: Running) -> None:
    source = EASY.replace("@pytest.mark.parametrize", '@pytest.mark.llm_cache("warm")\n@pytest.mark.parametrize')
    runs.plain(source, *options(attached), "--llmperf-strict").assert_outcomes(passed=2)


def answer_faster_again(asked: Asked) -> Reply:
    """A server with a prefix cache that it does not report, as far as the counts go."""
    return stream(text(" w"), text(" w", "length"), usage(2, 10, prompt_tokens_details=None), "[DONE]")


SENDERS = {
    "generate": 'for _ in range(12): llm_client.generate("the same prompt", max_tokens=2)',
    "chat": 'for _ in range(12): llm_client.chat("the same prompt", max_tokens=2)',
    "a list": 'llm_client.run(["the same prompt"] * 12, max_tokens=2)',
    "a workload": 'llm_client.run(workload(["the same prompt"] * 12, output_tokens=2), concurrency=1)',
    "an app": "for _ in range(12): ask(llm_client.base_url)",
}


@pytest.mark.parametrize("send", SENDERS.values(), ids=SENDERS)
def test_the_same_prompt_twelve_times_is_not_judged_where_the_server_is_silent(
    runs: Runs, pytester: pytest.Pytester, hostile: HostileServer, send: str
) -> None:
    hostile.answer = answer_faster_again
    source = f"""{ASK.replace("simulated", "tiny")}
from pytest_llmperf import workload

@pytest.mark.latency_budget(ttft_p50="10 s", e2e_p50="10 s")
def test_repeated(llm_client):
    {send}
"""
    result = runs.plain(source, *hostile.options, "--llmperf-report=out.json")
    assert list_verdicts(pytester) == ["INVALID", "INVALID"]
    result.stdout.fnmatch_lines(
        ["*11 prompts were sent before in the test, and no answer says how much of them came *"]
    )


@pytest.mark.parametrize("send", SENDERS.values(), ids=SENDERS)
def test_the_same_prompt_twelve_times_is_judged_where_the_test_asks_for_it(
    runs: Runs, hostile: HostileServer, send: str
) -> None:
    hostile.answer = answer_faster_again
    source = f"""{ASK.replace("simulated", "tiny")}
from pytest_llmperf import workload

@pytest.mark.llm_cache("warm")
@pytest.mark.latency_budget(ttft_p50="10 s", e2e_p50="10 s")
def test_repeated(llm_client):
    {send}
"""
    runs.plain(source, *hostile.options, "--llmperf-strict").assert_outcomes(passed=1)


def test_of_a_silent_server_the_form_of_a_prompt_makes_no_new_one(
    runs: Runs, pytester: pytest.Pytester, hostile: HostileServer
) -> None:
    hostile.answer = answer_faster_again
    source = """
import gzip, json, urllib.request

TEXT = "the same prompt"
PARTS = [{"role": "user", "content": [{"type": "text", "text": TEXT}]}]
AS_IT_IS = ("/completions", {"prompt": TEXT})
AGAIN = {
    "chat": ("/chat/completions", {"messages": PARTS}),
    "alias": ("/completions", {"prompt": TEXT, "model": "another-name"}),
    "salt": ("/completions", {"prompt": TEXT, "cache_salt": "new", "cache_prompt": False, "llmperf_nonce": "new"}),
    "compressed": AS_IT_IS,
}
NEW = {
    "context": ("/completions", {"prompt": TEXT, "context": [1, 2, 3]}),
    "documents": ("/completions", {"prompt": TEXT, "documents": [{"text": "some text"}]}),
    "response": ("/completions", {"prompt": TEXT, "previous_response_id": "resp_1"}),
}
FORMS = {"as it is": AS_IT_IS, **AGAIN, **NEW}

@pytest.mark.latency_budget(ttft_max="10 s")
@pytest.mark.parametrize("form", FORMS)
def test_app(llm_client, form):
    path, content = FORMS[form]
    body = json.dumps({"model": "tiny", "max_tokens": 2, "stream": True, **content}).encode()
    headers = {"Content-Type": "application/json"}
    if form == "compressed":
        body, headers = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}
    request = urllib.request.Request(llm_client.base_url + path, body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()

@pytest.mark.latency_budget(ttft_max="10 s")
def test_client(llm_client):
    llm_client.generate("the same prompt", max_tokens=2, cache_salt="another")
"""
    runs.plain(source, *hostile.options, "--llmperf-report=out.json")
    assert list_verdicts(pytester) == ["PASS", *["INVALID"] * 4, *["PASS"] * 3, "INVALID"]


def test_no_text_of_a_prompt_gets_into_a_report(runs: Runs, pytester: pytest.Pytester, silent: Running) -> None:
    result = runs.plain(EASY, *options(silent), "--llmperf-report=out.md", "-v")
    for output in (result.stdout.str(), *(path.read_text(encoding="utf-8") for path in pytester.path.glob("out.*"))):
        assert "seven eight" not in output
