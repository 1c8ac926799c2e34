"""Asks an engine for its next tokens at every position of a text, one request after another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.quality.next_tokens import MOST_LIKELY, NextTokens, TextNextTokens
from pytest_llmperf.quality.answers import NoLikelyTokensError, read_next_tokens
from pytest_llmperf.quality.comparison import LEAST_LISTED
from pytest_llmperf.traffic.client.exchange import TransportError
from pytest_llmperf.traffic.client.http import open_transport

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pytest_llmperf.quality.text import ProbeText
    from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint
    from pytest_llmperf.traffic.client.transport import Transport

TIMEOUT_S = 120.0


class ProbeError(Exception):
    """An engine does not give its next tokens; the message is one line."""


def probe(
    endpoint: Endpoint,
    dialect: Dialect,
    text: ProbeText,
    engine: str,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> TextNextTokens:
    """The next tokens of an engine at every position of a text.

    Requests are sent one at a time, in an order that never changes, with prompts that do not come from a cache where
    the engine can be told so: what a position is computed together with may change its last digits.

    Args:
        endpoint, dialect: of the engine.
        text: the text with its positions.
        engine: what messages call the engine.
        progress: called with the number of positions that are done, and of all.

    Raises:
        ProbeError: the engine cannot be asked, or does not state the most likely tokens.
    """
    transport = _open(endpoint, dialect)
    try:
        found: dict[tuple[int, int], NextTokens] = {}
        # Neighbours in this order share no prefix, so that a cache that cannot be switched off has nothing to give.
        order = [(row, column) for column in range(len(text.contexts[0])) for row in range(len(text.contexts))]
        for row, column in order:
            found[row, column] = _ask(transport, endpoint, dialect, text.contexts[row][column])
            progress(len(found), len(order))
    finally:
        transport.close()
    _check_all(found.values())
    passages = tuple(tuple(found[row, column] for column in range(len(c))) for row, c in enumerate(text.contexts))
    return TextNextTokens(text.digest, text.name, engine, _list_tokens(endpoint, dialect, text), passages)


def _open(endpoint: Endpoint, dialect: Dialect) -> Transport:
    if dialect.likely_tokens is None:
        raise ProbeError("the engine states no log-probabilities")
    try:
        return open_transport(endpoint, dialect, TIMEOUT_S)
    except ValueError as error:
        raise ProbeError(str(error)) from None


def _ask(transport: Transport, endpoint: Endpoint, dialect: Dialect, context: str) -> NextTokens:
    body: dict[str, Any] = {
        **dialect.defaults,
        **dialect.prefix_settings(False),
        "model": endpoint.model,
        "prompt": context,
        "max_tokens": 1,
        "temperature": 0.0,
        "stream": False,
        **(dialect.likely_tokens or {}),
    }
    try:
        attempt = transport.attempt("/completions", body)
        transport.perform(attempt)
    except (TransportError, ValueError) as error:
        raise ProbeError(f"a request for next tokens failed: {error}") from None
    answer = b"".join(piece for _, piece in attempt.pieces)
    try:
        return read_next_tokens(answer)
    except NoLikelyTokensError as error:
        status = "" if attempt.status in (None, 200) else f" (HTTP {attempt.status})"
        raise ProbeError(f"{error}{status}") from None


def _check_all(found: Collection[NextTokens]) -> None:
    """Refuses too few positions or tokens, and answers that do not depend on the text."""
    listed = [one.likely for one in found if one.likely]
    if len(listed) < LEAST_LISTED * len(found):
        raise ProbeError(f"the engine states its most likely tokens only at {len(listed)} of {len(found)} positions")
    # Special tokens and parts of characters are written the same, and count as one.
    most = max((len(one) for one in listed if not any(map(_is_merged, one))), default=MOST_LIKELY)
    if most < MOST_LIKELY:
        raise ProbeError(f"the engine states at most {most} of the {MOST_LIKELY} most likely tokens")
    if len({frozenset(one.items()) for one in listed}) == 1:
        raise ProbeError(f"the answers at all {len(listed)} positions are the same, so they do not depend on the text")


def _is_merged(token: str) -> bool:
    return not token or "\ufffd" in token


def _list_tokens(endpoint: Endpoint, dialect: Dialect, text: ProbeText) -> tuple[int, ...] | None:
    if dialect.list_tokens is None:
        return None
    try:
        return tuple(dialect.list_tokens(endpoint, text.whole))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the counts of tokens at each position are compared instead
