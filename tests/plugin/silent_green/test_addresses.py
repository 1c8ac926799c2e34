"""A server is asked at the address that was given, for what was given, or the run says what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.hostile_server import HostileServer, delta, good_stream, stream, text, usage, whole
from tests.plugin.silent_green.senders import SEND

if TYPE_CHECKING:
    from tests.conftest import Runs
    from tests.helpers.hostile_server import Reply

WAYS = ("client", "client, chat", "client, whole", "prompts", "load")
SUITE = f"""
{SEND}
@pytest.mark.latency_budget(e2e_max="1 min")
@pytest.mark.parametrize("way", {WAYS})
def test_it(llm_client, way):
    send(llm_client, way)

def test_app(llm_client):
    assert llm_client.base_url.endswith({{path!r}})
    send(llm_client, "app")
"""


@pytest.mark.parametrize(
    ("given", "path", "query"),
    [
        ("", "/v1", ""),
        ("/v3/", "/v3", ""),
        ("/v1beta/openai", "/v1beta/openai", ""),
        (
            "/openai/deployments/tiny?api-version=2024-10-21&x=1",
            "/openai/deployments/tiny",
            "?api-version=2024-10-21&x=1",
        ),
        ("?api-version=1", "/v1", "?api-version=1"),
    ],
)
def test_the_address_of_each_request_is_the_one_given(
    given: str, path: str, query: str, runs: Runs, hostile: HostileServer
) -> None:
    source = SUITE.replace("{path!r}", repr(path))
    result = runs.plain(source, "--llm-engine=openai", f"--llmperf-url={hostile.url}{given}")
    result.assert_outcomes(passed=len(WAYS) + 1)
    own = {asked.path for asked in hostile.asked[:-1]}
    assert own == {f"{path}/completions{query}", f"{path}/chat/completions{query}"}


def test_a_model_that_is_named_is_asked_of_a_server_without_a_list(runs: Runs, hostile: HostileServer) -> None:
    hostile.pages["/v1/models"] = lambda: whole({"detail": "Not Found"}, status=404)
    suite = SUITE.replace("{path!r}", "'/v1'")
    refused = runs.plain(suite, *hostile.options)
    refused.stdout.fnmatch_lines(
        ["*/v1/models answered HTTP 404; is the URL that of the API? *give --llmperf-model=NAME*"]
    )
    assert not hostile.asked
    result = runs.plain(suite, *hostile.options, "--llmperf-model=gpt")
    result.assert_outcomes(passed=len(WAYS) + 1)
    result.stdout.fnmatch_lines(
        ["llmperf: openai: attached to gpt *; it lists no models (*), so the name was not checked"]
    )
    assert {asked.body["model"] for asked in hostile.asked if "model" in asked.body} == {"gpt"}


@pytest.mark.parametrize("listed", [["tiny", "tiny"], ["openai/*", "tiny"], ["t*"], []])
def test_a_list_with_patterns_and_repetitions_serves_a_named_model(
    listed: list[str], runs: Runs, hostile: HostileServer
) -> None:
    hostile.models[:] = listed
    result = runs.plain(SUITE.replace("{path!r}", "'/v1'"), *hostile.options, "--llmperf-model=tiny")
    result.assert_outcomes(passed=len(WAYS) + 1)
    said = (
        "*so the name was not checked"
        if "tiny" not in listed
        else f"llmperf: openai: attached to tiny at {hostile.url}/v1"
    )
    result.stdout.fnmatch_lines([said])


SENDS = """
import asyncio
from pytest_llmperf import workload

WAYS = {
    "generate": lambda client, **more: client.generate("x", **more),
    "chat": lambda client, **more: client.chat("x", **more),
    "agenerate": lambda client, **more: asyncio.run(client.agenerate("x", **more)),
    "achat": lambda client, **more: asyncio.run(client.achat("x", **more)),
    "prompts": lambda client, **more: client.run(["x", "y"], **more),
    "load": lambda client, **more: client.run(workload(["x", "y"]), **more),
}

@pytest.mark.latency_budget(e2e_max="1 min")
@pytest.mark.parametrize("way", WAYS)
def test_it(llm_client, way):
    WAYS[way](llm_client, ARGUMENTS)
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("extra_headers={'x-canary': 'always'}", "extra_headers= is no field of a request: give headers={...}"),
        ("max_token=4", "max_token= is not known: did you mean max_tokens=*"),
        ("timeout='soon'", "'soon' is not a duration*"),
        ("headers={'Host': 'x'}", "headers has 'Host', which the client sets itself: leave it out"),
    ],
)
def test_a_word_that_would_not_do_what_it_says_is_refused_and_nothing_is_sent(
    arguments: str, message: str, runs: Runs, hostile: HostileServer
) -> None:
    result = runs.plain(SENDS.replace("ARGUMENTS", f"**dict({arguments})"), *hostile.options)
    result.assert_outcomes(failed=6)
    result.stdout.fnmatch_lines([f"E *Error: {message}"] * 6)
    assert not hostile.asked


def test_headers_are_sent_with_each_request(runs: Runs, hostile: HostileServer) -> None:
    arguments = "headers={'x-canary': 'always', 'authorization': 'Basic abc'}, timeout=20"
    result = runs.plain(SENDS.replace("ARGUMENTS", arguments), *hostile.options, "--llmperf-engine-arg=api_key=unused")
    result.assert_outcomes(passed=6)
    assert len(hostile.asked) == 8
    assert [{name.lower(): value for name, value in asked.headers.items()}["x-canary"] for asked in hostile.asked] == [
        "always"
    ] * 8
    assert not any("unused" in str(asked.headers) for asked in hostile.asked)
    assert not any({"headers", "timeout"} & asked.body.keys() for asked in hostile.asked)


def test_what_a_hosted_model_refuses_is_left_out(runs: Runs, hostile: HostileServer) -> None:
    arguments = "max_tokens=None, temperature=None, stream_options=None"
    runs.plain(SENDS.replace("ARGUMENTS", arguments), *hostile.options).assert_outcomes(passed=6)
    assert not any({"max_tokens", "temperature", "stream_options"} & asked.body.keys() for asked in hostile.asked)
    assert [asked.body.get("max_completion_tokens") for asked in hostile.asked] == [None] * 6 + [128] * 2


def test_each_turn_of_a_chat_has_the_limit_in_the_same_field(runs: Runs, hostile: HostileServer) -> None:
    chats = "workload(prompt_tokens=4, turns=2, requests=2, output_tokens=9, tokenizer=lambda text: len(text.split()))"
    source = (
        SENDS.replace('workload(["x", "y"])', chats)
        .replace("WAYS)", "['load'])")
        .replace("ARGUMENTS", "max_tokens=None")
    )
    hostile.answer = lambda _: stream(delta(content="a"), delta("stop"), usage(1))
    runs.plain(source, *hostile.options).assert_outcomes(passed=1)
    assert [{key for key in asked.body if "tokens" in key} for asked in hostile.asked] == [
        {"max_completion_tokens"}
    ] * 2
    assert len(hostile.asked[1].body["messages"]) == 3


def test_a_timeout_ends_a_silent_request(runs: Runs, hostile: HostileServer) -> None:
    hostile.answer = lambda _: stream(text("a"), pause_s=3.0)
    result = runs.plain(SENDS.replace("ARGUMENTS", "timeout='200 ms'"), *hostile.options)
    result.assert_outcomes(failed=6)
    result.stdout.fnmatch_lines(["*was silent for 0.2 s*"] * 6)


FAILING = """
import pytest
from pytest_llmperf import RequestFailed

@pytest.mark.latency_budget(e2e_max="1 min")
def test_it(llm_client):
    with pytest.raises(RequestFailed):
        llm_client.generate("x", max_tokens=4)
"""


def test_a_failed_test_asks_for_the_servers_health_a_few_times(runs: Runs, hostile: HostileServer) -> None:
    lists: list[int] = []

    def list_models() -> Reply:
        lists.append(1)
        return whole({"object": "list", "data": [{"id": "tiny"}]})

    hostile.pages["/v1/models"] = list_models
    hostile.answer = lambda _: whole({"error": "no"}, status=500)
    runs.plain(FAILING, *hostile.options).assert_outcomes(passed=1)
    assert 2 <= len(lists) <= 12


def test_no_request_follows_a_redirect(runs: Runs, hostile: HostileServer) -> None:
    other = HostileServer(lambda _: good_stream())
    with other.running():
        there = {"Location": f"{other.url}/v1/completions"}
        hostile.answer = lambda _: whole({}, status=307, headers=there)
        result = runs.plain(SENDS.replace("ARGUMENTS", ""), *hostile.options, "--llmperf-engine-arg=api_key=a-key")
        result.assert_outcomes(failed=6)
    result.stdout.fnmatch_lines(["*HTTP 307*"] * 6)
    assert not other.asked
