"""An engine is asked one position after another, with contexts that share no beginning with the one before."""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.quality.probe import ProbeError, probe
from pytest_llmperf.quality.text import read_default_text
from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint
from pytest_llmperf.traffic.client.exchange import TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT = read_default_text()
ENDPOINT = Endpoint("http://127.0.0.1:1/v1", "tiny")


def expect(tokens: int, at: int) -> dict[str, float]:
    """So many tokens, as likely as nowhere else."""
    return {f"t{number}": -3.0 - number / 10 - at / 1000 for number in range(tokens)}


class Answered:
    path, late, headers = "", None, {}  # type: ignore[var-annotated]
    sent_ns = end_ns = 0
    status = 200

    def __init__(self, body: bytes) -> None:
        self.pieces = [(time.monotonic_ns(), body)]


class Recorder:
    """A transport that keeps what it is asked."""

    def __init__(self, answer: Any = None, fault: str = "") -> None:
        self.asked: list[Mapping[str, Any]] = []
        self.closed = False
        self._answer = answer
        self._fault = fault

    def attempt(self, path: str, body: Mapping[str, Any]) -> Answered:
        assert path == "/completions"
        self.asked.append(body)
        likely = {"top_logprobs": [expect(20, len(self.asked))]}
        answer = self._answer or {"choices": [{"logprobs": likely}], "usage": {"prompt_tokens": len(self.asked)}}
        return Answered(json.dumps(answer).encode())

    def perform(self, attempt: object) -> None:
        if self._fault:
            raise TransportError(self._fault)

    def close(self) -> None:
        self.closed = True


def dialect(transport: Recorder, **fields: Any) -> Dialect:
    return Dialect(transport=lambda _: transport, **fields)  # type: ignore[arg-type,return-value]


def test_each_position_is_asked_for_once_and_found_in_its_place() -> None:
    transport = Recorder()
    done: list[tuple[int, int]] = []
    found = probe(ENDPOINT, dialect(transport), TEXT, "q8", lambda *counts: done.append(counts))
    assert transport.closed
    assert sorted(body["prompt"] for body in transport.asked) == sorted(c for cs in TEXT.contexts for c in cs)
    assert done[-1] == (96, 96)
    for row, contexts in enumerate(TEXT.contexts):
        for column, context in enumerate(contexts):
            asked = found.passages[row][column].context_tokens
            assert asked is not None
            assert transport.asked[asked - 1]["prompt"] == context


def test_requests_are_for_one_token_that_is_not_drawn_and_do_not_share_a_prefix() -> None:
    transport = Recorder()
    asking = dialect(
        transport,
        prefix_settings=lambda share: {"cache_prompt": share},
        likely_tokens={"logprobs": True, "top_logprobs": 20},
    )
    probe(ENDPOINT, asking, TEXT, "q8")
    first = transport.asked[0]
    assert (first["max_tokens"], first["temperature"], first["stream"], first["cache_prompt"]) == (1, 0.0, False, False)
    assert (first["logprobs"], first["top_logprobs"], first["model"]) == (True, 20, "tiny")
    prompts = [body["prompt"] for body in transport.asked]
    assert not [b for a, b in itertools.pairwise(prompts) if b.startswith(a) or a.startswith(b)]


def test_the_ids_of_the_texts_tokens_are_kept_where_the_engine_states_them() -> None:
    asking = dialect(Recorder(), list_tokens=lambda _, text: [len(text), 7])
    assert probe(ENDPOINT, asking, TEXT, "q8").tokens == (len(TEXT.whole), 7)

    def fail(_: Endpoint, text: str) -> list[int]:
        raise OSError("no such path")

    assert probe(ENDPOINT, dialect(Recorder(), list_tokens=fail), TEXT, "q8").tokens is None


@pytest.mark.parametrize(
    ("asking", "said"),
    [
        (dialect(Recorder(), likely_tokens=None), "the engine states no log-probabilities"),
        (dialect(Recorder({"error": {"message": "logprobs are off"}})), "logprobs are off"),
        (dialect(Recorder(fault="connection refused")), "a request for next tokens failed: connection refused"),
        (Dialect(), "a request for next tokens failed"),
    ],
)
def test_an_engine_that_does_not_give_them_says_why(asking: Dialect, said: str) -> None:
    with pytest.raises(ProbeError, match=said):
        probe(ENDPOINT, asking, TEXT, "q8")


def choose(likely: Mapping[str, float]) -> dict[str, Any]:
    return {"choices": [{"logprobs": {"top_logprobs": [likely]}}], "usage": {"prompt_tokens": 3}}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (choose(expect(5, 1)), "the engine states at most 5 of the 20 most likely tokens"),
        (
            {"choices": [{"text": "\ufffd", "logprobs": None}]},
            "states its most likely tokens only at 0 of 96 positions",
        ),
        (choose(expect(20, 1)), "the answers at all 96 positions are the same, so they do not depend on the text"),
    ],
)
def test_too_few_tokens_and_answers_that_are_always_the_same_prove_nothing(answer: Any, said: str) -> None:
    with pytest.raises(ProbeError, match=said):
        probe(ENDPOINT, dialect(Recorder(answer)), TEXT, "q8")


def test_tokens_that_are_written_the_same_are_not_taken_for_a_short_list() -> None:
    class Merged(Recorder):
        def attempt(self, path: str, body: Mapping[str, Any]) -> Answered:
            self.asked.append(body)
            return Answered(json.dumps(choose({**expect(12, len(self.asked)), " \ufffd": -2.9})).encode())

    found = probe(ENDPOINT, dialect(Merged()), TEXT, "q8")
    assert {len(one.likely) for passage in found.passages for one in passage} == {13}
