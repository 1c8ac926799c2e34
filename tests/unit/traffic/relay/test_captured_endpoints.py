"""What real servers have answered on each path that is read, from the recording of the call to its timing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_llmperf.traffic.answers.openai import SEVERAL_CHOICES
from pytest_llmperf.traffic.relay.paths import ENDPOINTS, find_endpoint
from tests.helpers.captured_endpoints import CAPTURES, STEP_NS, read_captured, read_relayed

TEXTS = {  # output, prompt and cached tokens, chunks, finish reason
    "llamacpp-gen messages": (12, 37, 0, 0, "length"),
    "llamacpp-gen messages_stream": (8, 37, 36, 8, "length"),
    "llamacpp-gen messages_stop": (2, 37, 36, 0, "stop"),
    "llamacpp-gen completion": (8, 3, 0, 0, "length"),
    "llamacpp-gen completion_stream": (6, 3, 2, 6, "length"),
    "llamacpp-gen completion_probs": (3, 3, 2, 3, "length"),
    "llamacpp-gen responses": (8, 37, 0, 0, "stop"),
    "llamacpp-gen responses_stream": (8, 37, 36, 8, "stop"),
    "vllm-gen messages": (12, 37, None, 0, "length"),
    "vllm-gen messages_stream": (8, 37, None, 8, "length"),
    "vllm-gen messages_stop": (2, 37, None, 0, "stop"),
    "vllm-gen messages_tool_stream": (49, 37, None, 4, "tool_calls"),
    "vllm-gen responses": (8, 37, 0, 0, "length"),
    "vllm-gen responses_stream": (8, 37, 0, 8, "length"),
}
INPUTS = {  # texts and their tokens
    "llamacpp-embed embeddings": (2, 5),
    "llamacpp-embed embeddings_one": (1, 2),
    "llamacpp-embed embeddings_base64": (1, 2),
    "llamacpp-embed embeddings_tokens": (2, 5),
    "llamacpp-embed embedding_native": (1, None),
    "llamacpp-embed embedding_native_many": (2, None),
    "llamacpp-rerank rerank": (2, 6),
    "vllm-embed embeddings": (2, 5),
    "vllm-embed embeddings_base64": (1, 2),
    "vllm-embed rerank": (2, 5),
    "vllm-embed score": (2, 5),
    "vllm-embed pooling": (1, 2),
    "vllm-classify classify": (1, 3),
    "vllm-classify rerank": (2, 15),
    "vllm-classify pooling": (1, 3),
}
REFUSED = {
    "llamacpp-gen completion_many": SEVERAL_CHOICES,
    "llamacpp-gen completion_many_stream": SEVERAL_CHOICES,
    "llamacpp-gen completion_n": SEVERAL_CHOICES,
    "vllm-gen chat_n": SEVERAL_CHOICES,
    "vllm-gen chat_n_stream": SEVERAL_CHOICES,
    "llamacpp-gen infill": "HTTP 501: Infill is not supported by this model: ",
    "llamacpp-gen embeddings": "HTTP 501: This server does not support embeddings. Start it with `--embeddings`",
    "llamacpp-gen chat_image": "HTTP 500: image input is not supported",
    "llamacpp-gen messages_image": "HTTP 500: image input is not supported",
    "vllm-gen messages_image": "HTTP 400: smol is not a multimodal model",
    # Vectors of null: this model has nothing to embed by.
    "llamacpp-rerank embeddings": "the answer has no embedding",
}
DOUBTED = {"llamacpp-gen completions_best_of"}


def test_every_capture_is_looked_at() -> None:
    assert CAPTURES.keys() == TEXTS.keys() | INPUTS.keys() | REFUSED.keys() | DOUBTED


@pytest.mark.parametrize("name", TEXTS)
def test_a_generated_text_is_counted_and_timed(name: str) -> None:
    timing = read_captured(name)
    assert (timing.error, timing.count_fault) == (None, "")
    assert (timing.work, timing.inputs) == ("text", 0)
    found = timing.output_tokens, timing.prompt_tokens, timing.cached_tokens, len(timing.chunks), timing.finish_reason
    assert found == TEXTS[name]
    if timing.chunks and timing.finish_reason != "tool_calls":
        assert timing.tpot == STEP_NS / 1e9
        assert timing.itl == [STEP_NS / 1e9] * (len(timing.chunks) - 1)
    assert (timing.model in ("smol", "")) is True


@pytest.mark.parametrize("name", INPUTS)
def test_texts_that_were_embedded_or_ranked_are_counted(name: str) -> None:
    timing = read_captured(name)
    assert (timing.error, timing.count_fault, timing.output_tokens, timing.chunks) == (None, "", None, ())
    assert (timing.inputs, timing.prompt_tokens) == INPUTS[name]
    assert timing.e2e == STEP_NS / 1e9
    assert timing.prompt is None
    endpoint = find_endpoint(CAPTURES[name]["path"])
    assert endpoint is not None
    assert timing.work == endpoint.work != "text"


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_answer_is_a_failed_request(name: str) -> None:
    assert (read_captured(name).error or "").startswith(REFUSED[name])


def test_answers_that_are_thrown_away_make_the_counts_doubtful() -> None:
    timing = read_captured("llamacpp-gen completions_best_of")
    assert timing.error is None
    assert timing.count_fault.startswith("best_of=2 has 2 answers generated and shows the best")


def test_llamacpp_is_known_by_its_form_on_a_path_that_it_shares() -> None:
    for name in ("completion", "completion_stream", "completion_many", "completion_many_stream"):
        capture = CAPTURES[f"llamacpp-gen {name}"]
        found = read_relayed("/completions", *[capture[key] for key in ("request", "body", "status", "content_type")])
        assert found == read_captured(f"llamacpp-gen {name}")


FORMS: dict[str, tuple[str, dict[str, Any], object, int, int | None]] = {
    "Ollama": (
        "/api/embed",
        {"input": ["a", "b"]},
        {"model": "m", "embeddings": [[0.1], [0.2]], "total_duration": 5, "prompt_eval_count": 7},
        2,
        7,
    ),
    "Ollama, one": ("/api/embeddings", {"prompt": "a"}, {"embedding": [0.1, 0.2]}, 1, None),
    "TEI": ("/embed", {"inputs": ["a", "b"]}, [[0.1], [0.2]], 2, None),
    "TEI ranks": (
        "/rerank",
        {"query": "q", "texts": ["a", "b"]},
        [{"index": 1, "score": 0.0}, {"index": 0, "score": 1.0}],
        2,
        None,
    ),
    "Cohere": (
        "/v2/embed",
        {"texts": ["a", "b"]},
        {"embeddings": {"float": [[0.1], [0.2]]}, "meta": {"billed_units": {"input_tokens": 4}}},
        2,
        4,
    ),
    "the best of many": (
        "/v2/rerank",
        {"query": "q", "documents": ["a", "b", "c"], "top_n": 1},
        {"results": [{"index": 2, "relevance_score": 0.5}], "meta": {"billed_units": {"search_units": 1}}},
        3,
        None,
    ),
    "SGLang": ("/encode", {"text": "a"}, {"embedding": [0.1], "meta_info": {"prompt_tokens": 3}}, 1, None),
    "SGLang scores": ("/v1/score", {"query": "q", "items": ["a", "b"]}, {"scores": [[0.1], [0.9]]}, 2, None),
    "pairs": (
        "/score",
        {"text_1": ["a", "b"], "text_2": "c"},
        {"data": [{"score": 0.1}, {"score": 0.2}], "usage": {"prompt_tokens": 9, "total_tokens": 9}},
        2,
        9,
    ),
    "a vector for each token": ("/v1/embeddings", {"input": "a b"}, {"data": [{"embedding": [[0.1], [0.2]]}]}, 1, None),
}


@pytest.mark.parametrize("form", FORMS)
def test_other_servers_have_forms_of_their_own(form: str) -> None:
    path, asked, answer, inputs, tokens = FORMS[form]
    timing = read_relayed(path, asked, json.dumps(answer))
    assert (timing.error, timing.inputs, timing.prompt_tokens) == (None, inputs, tokens)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"data": [{"embedding": [0.1]}]}, "the answer has 1 embeddings where 2 were asked for"),
        ({"data": [{"embedding": [0.1]}, {"embedding": []}]}, "the answer has 1 embeddings where 2 were asked for"),
        ({"data": [{"embedding": [0.1]}, {"embedding": [None]}]}, "the answer has 1 embeddings where 2 were asked for"),
        ({"data": [{"embedding": [0.1]}, {"object": "?"}]}, "the answer has 1 embeddings where 2 were asked for"),
        ({"data": []}, "the answer has no embedding"),
        ({}, "the answer has no embedding"),
        ([], "the answer has no embedding"),
        (7, "the answer has no embedding"),
        ({"error": "overloaded", "data": [{"embedding": [0.1]}] * 2}, "the server reported an error: overloaded"),
    ],
)
def test_fewer_vectors_than_texts_are_a_failed_request(answer: object, error: str) -> None:
    timing = read_relayed("/v1/embeddings", {"input": ["a", "b"]}, json.dumps(answer))
    assert (timing.error, timing.work) == (error, "embed")


def test_each_path_is_read_by_one_reader() -> None:
    ends = [end for endpoint in ENDPOINTS for end in endpoint.ends]
    assert len(ends) == len(set(ends))
    for endpoint in ENDPOINTS:
        for end in endpoint.ends:
            assert find_endpoint(f"/x{end}") is endpoint
