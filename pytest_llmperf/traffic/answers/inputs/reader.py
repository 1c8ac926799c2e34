"""Reads answers with a vector, a score or a class for each of the texts that were sent."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.traffic.answers.answer import Answer
from pytest_llmperf.traffic.answers.errors import describe_refusal, find_error
from pytest_llmperf.traffic.answers.inputs.counts import read_input_tokens
from pytest_llmperf.traffic.answers.inputs.vectors import find_scores, find_vectors, is_given
from pytest_llmperf.traffic.answers.json_fields import as_dict, as_text, excerpt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.request import Work
    from pytest_llmperf.traffic.answers.answer import Arrival

_CALLED: Mapping[Work, str] = MappingProxyType({"embed": "embedding", "rank": "score"})


def read_embeddings(arrival: Arrival) -> Answer:
    """Reads embeddings; ``timing.error`` says in one line what is wrong with them."""
    return _read(arrival, "embed")


def read_scores(arrival: Arrival) -> Answer:
    """Reads ranks, scores and classes; ``timing.error`` says in one line what is wrong with them."""
    return _read(arrival, "rank")


def _read(arrival: Arrival, work: Work) -> Answer:
    content, error = _parse(arrival)
    found = find_vectors(content) if work == "embed" else find_scores(content)
    error = error or _why_incomplete(found, arrival.asked_results, _CALLED[work])
    body = as_dict(content)
    counts = read_input_tokens(body)
    timing = RequestTiming(
        sent_ns=arrival.sent_ns,
        end_ns=arrival.end_ns,
        prompt_tokens=counts.prompt,
        cached_tokens=counts.cached,
        streamed=False,
        status=arrival.status,
        error=error or None,
        scheduled_ns=arrival.scheduled_ns,
        shared_prefix=arrival.shared_prefix,
        model=as_text(body.get("model")),
        count_fault=counts.fault,
        work=work,
        inputs=arrival.asked_inputs or len(found),
    )
    return Answer("", "", [], None, as_dict(body.get("usage")) or None, timing, body or {"data": content})


def _parse(arrival: Arrival) -> tuple[object, str]:
    """The content of an answer, None if there is none, and why it is no answer, or ""."""
    if arrival.status is not None and not 200 <= arrival.status < 300:
        return None, f"HTTP {arrival.status}: {describe_refusal(arrival.body)}"
    if arrival.fault:
        return None, arrival.fault
    try:
        content: Any = json.loads(arrival.body)
    except (ValueError, RecursionError):
        return None, f"the server sent something that is not JSON: {excerpt(arrival.body)!r}"
    stated = find_error(content) if isinstance(content, dict) else ""
    return content, f"the server reported an error: {stated}" if stated else ""


def _why_incomplete(found: Sequence[object], asked: int | None, called: str) -> str:
    """Why an answer does not have what was asked for, in one sentence; "" if it has."""
    given = sum(map(is_given, found))
    if not given:
        return f"the answer has no {called}"
    wanted = max(asked or 0, len(found))
    return f"the answer has {given} {called}s where {wanted} were asked for" if given < wanted else ""
