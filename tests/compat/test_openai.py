"""The openai package as an app's own client: through llm_client.base_url its calls are measured as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs

pytest.importorskip("openai")

CLIENT = """
import openai

MESSAGES = [{"role": "user", "content": "x"}]

@pytest.fixture
def app(llm_client):
    with openai.OpenAI(base_url=llm_client.base_url, api_key="sk-0123456789", max_retries=0) as app:
        yield app
"""


def test_its_answers_are_measured_streamed_or_not(runs: Runs) -> None:
    result = runs(
        CLIENT
        + """
def test_app(app, llm_perf):
    stream = app.chat.completions.create(
        model="simulated", messages=MESSAGES, max_tokens=4, stream=True, stream_options={"include_usage": True}
    )
    assert sum(1 for piece in stream if piece.choices and piece.choices[0].delta.content) == 4
    assert app.chat.completions.create(model="simulated", messages=MESSAGES, max_tokens=4).usage.completion_tokens == 4
    assert app.completions.create(model="simulated", prompt="x", max_tokens=4).choices[0].text
    assert [model.id for model in app.models.list()] == ["simulated"]
    requests = llm_perf.measurement.requests
    assert [(r.streamed, r.error) for r in requests] == [(True, None), (False, None), (False, None)]
    assert {r.output_tokens for r in requests} == {4}
    assert len(requests[0].chunks) == 4
"""
    )
    result.assert_outcomes(passed=1)


def test_its_asynchronous_client_is_measured_too(runs: Runs) -> None:
    result = runs(
        """
        import asyncio, openai

        async def ask(url):
            async with openai.AsyncOpenAI(base_url=url, api_key="sk-0123456789") as app:
                calls = [app.completions.create(model="simulated", prompt="x", max_tokens=2) for _ in range(8)]
                return await asyncio.gather(*calls)

        def test_app(llm_client, llm_perf):
            assert len(asyncio.run(ask(llm_client.base_url))) == 8
            assert [r.output_tokens for r in llm_perf.measurement.requests] == [2] * 8
        """
    )
    result.assert_outcomes(passed=1)


def test_a_stream_that_is_left_early_is_a_cancelled_request(runs: Runs) -> None:
    result = runs(
        CLIENT
        + """
def test_app(app, llm_perf, llm_client):
    with app.chat.completions.create(model="simulated", messages=MESSAGES, max_tokens=100000, stream=True) as stream:
        next(iter(stream))
    llm_client.generate("x", max_tokens=1)
    errors = [r.error for r in llm_perf.measurement.requests]
    assert errors == ["the app closed the connection before the answer was complete", None]
""",
        slots="1",
    )
    result.assert_outcomes(passed=1)


def test_an_error_reaches_it_as_the_server_sent_it(runs: Runs) -> None:
    result = runs(
        CLIENT
        + """
def test_app(app, llm_perf):
    with pytest.raises(openai.RateLimitError, match="simulated failure"):
        app.completions.create(model="simulated", prompt="x", max_tokens=4)
    assert [r.status for r in llm_perf.measurement.requests] == [429]
""",
        error_every="1",
        error_status="429",
    )
    result.assert_outcomes(passed=1)
