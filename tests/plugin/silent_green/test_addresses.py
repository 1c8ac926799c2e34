"""A server is asked at the address that was given, for what was given, or the run says what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.hostile_server import whole
from tests.plugin.silent_green.senders import SEND

if TYPE_CHECKING:
    from tests.conftest import Runs
    from tests.helpers.hostile_server import HostileServer

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
